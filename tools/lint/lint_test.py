"""The tree obeys the lint, and the lint notices what it is there for: each rule has a small tree that must fail."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / "tools" / "lint"), str(SOURCE / "tests")]

import lint  # noqa: E402
from support import runner  # noqa: E402

ROOMS = """| room | what it is | may use |
|---|---|---|
| [`../include/vellum`](../include/vellum) | the public API of it | the standard library |
| [`base`](base) | what every room needs | public headers |
| [`storage`](storage) | the room that knows RocksDB | base |
| [`kv`](kv) | the metadata plane itself | storage, base |
| [`wire`](wire) | bytes on the wire | base |
"""

GOOD = {
    "src/README.md": ROOMS,
    "include/vellum/types.h": "#pragma once\n#include <string>\n",
    "src/base/a.h": "#pragma once\n#include \"vellum/types.h\"\n",
    "src/storage/db.cc": "#include <rocksdb/db.h>\n#include \"base/a.h\"\n",
    "src/kv/engine.cc": "#include \"storage/db.h\"\nint F() { return 1; }\n",
    "src/kv/engine_test.cc": "TEST(A, B) { WaitUntil(ready); }\n",
    "src/wire/server.cc": "#include <nghttp2/nghttp2.h>\n",
}


class LintNotices(unittest.TestCase):
    def findings(self, changes):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**GOOD, **changes}.items():
                if text is not None:
                    target = pathlib.Path(root, path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(text, encoding="utf-8")
            return lint.lint(root)

    def assert_only(self, rule, changes, path=None):
        found = self.findings(changes)
        self.assertTrue(found, f"nothing found, {rule} expected")
        self.assertEqual({entry[2] for entry in found}, {rule}, found)
        if path:
            self.assertIn(path, {entry[0] for entry in found})

    def test_a_good_tree_passes(self):
        self.assertEqual(self.findings({}), [])

    def test_an_include_against_the_arrow(self):
        self.assert_only("arrows", {"src/base/a.cc": "#include \"kv/engine.h\"\n"}, "src/base/a.cc")

    def test_an_include_against_the_arrow_in_a_unit_test(self):
        self.assert_only("arrows", {"src/wire/server_test.cc": "#include \"kv/engine.h\"\n"})

    def test_an_include_that_names_no_room(self):
        self.assert_only("arrows", {"src/kv/b.cc": "#include \"engine.h\"\n"})

    def test_a_commented_include_does_not_count(self):
        self.assertEqual(self.findings({"src/base/a.cc": "// #include \"kv/engine.h\"\n"}), [])

    def test_third_party_headers_stay_in_their_rooms(self):
        self.assert_only("third-party", {"src/kv/b.cc": "#include <rocksdb/db.h>\n"})
        self.assert_only("third-party", {"src/kv/b.cc": "#include <nghttp2/nghttp2.h>\n"})
        self.assert_only("third-party", {"src/wire/b.cc": "#include <grpcpp/grpcpp.h>\n"})
        self.assert_only("third-party", {"src/wire/b.cc": "#include \"rpc.grpc.pb.h\"\n"})
        self.assert_only("third-party", {"src/base/b.cc": "#include <sqlite3.h>\n"})

    def test_third_party_headers_do_not_leak_through_ours(self):
        self.assert_only("third-party", {"src/storage/db.h": "#pragma once\n#include <rocksdb/db.h>\n"}, "src/storage/db.h")

    def test_public_headers(self):
        self.assert_only("public", {"include/vellum/b.h": "#pragma once\n#include \"base/a.h\"\n"})
        self.assert_only("public", {"include/vellum/b.h": "#pragma once\n" + "//\n" * 300})
        self.assert_only("public", {f"include/vellum/h{i}.h": "#pragma once\n" for i in range(12)})

    def test_every_header_has_its_guard(self):
        self.assert_only("pragma", {"src/base/b.h": "int x();\n"})

    def test_files_and_functions_stay_small(self):
        self.assert_only("file-size", {"src/kv/b.cc": "//\n" * 801})
        body = "namespace n {\nclass C {\n  int F(int a) {\n" + "    a++;\n" * 79 + "  }\n};\n}\n"
        self.assert_only("function-size", {"src/kv/b.cc": body})
        self.assertEqual(self.findings({"src/kv/b.cc": body.replace("    a++;\n", "", 1)}), [])
        self.assert_only("function-size", {"tests/b.py": "def f():\n" + "    pass\n" * 80})

    def test_braces_in_literals_and_comments_do_not_count(self):
        body = "int F() {\n  g('{'); h(\"}}{\"); /* { */ i(R\"x(}{{)x\");  // }\n  return 1'000;\n}\n"
        self.assertEqual(self.findings({"src/kv/b.cc": body}), [])

    def test_tests_neither_sleep_nor_fix_ports_nor_paths(self):
        self.assert_only("sleep", {"src/kv/b_test.cc": "void F() { std::this_thread::sleep_for(1s); }\n"})
        self.assert_only("sleep", {"tests/b.py": "import time\ntime.sleep(1)\n"})
        self.assert_only("fixed-port", {"tests/b.py": "ADDRESS = '127.0.0.1:2379'\n"})
        self.assert_only("fixed-path", {"src/kv/b_test.cc": "auto d = Open(\"/tmp/x\");\n"})

    def test_tests_are_not_switched_off(self):
        self.assert_only("switched-off", {"src/kv/b_test.cc": "TEST(A, DISABLED_B) {}\n"})
        self.assert_only("switched-off", {"src/kv/b_test.cc": "// TEST(A, B) {}\n"})
        self.assert_only("switched-off", {"tests/CMakeLists.txt": "# add_test(NAME x)\n"})

    def test_time_and_chance_stay_out_of_kv(self):
        self.assert_only("purity", {"src/kv/b.cc": "auto t = std::chrono::system_clock::now();\n"})
        self.assert_only("purity", {"src/kv/b.cc": "int x = rand();\n"})

    def test_only_main_ends_the_process(self):
        self.assert_only("exit", {"src/wire/b.cc": "void F() { std::exit(1); }\n"})

    def test_marks_and_machine_paths(self):
        self.assert_only("marks", {"src/kv/b.cc": "// TO" "DO: later\n"})
        self.assert_only("marks", {"src/kv/b.cc": "// FIX" "ME\n"})
        self.assertEqual(self.findings({"src/kv/b.cc": "// TO" "DO(#12): later\n"}), [])
        self.assert_only("machine-path", {"docs/a.md": "see /ho" "me/me\n"})

    def test_rooms_and_their_sentences(self):
        self.assert_only("rooms", {"src/extra/a.cc": "int x;\n"})
        self.assertIn("rooms", {entry[2] for entry in self.findings({"src/wire/server.cc": None})})
        self.assert_only("rooms", {"src/README.md": ROOMS.replace("| public headers |", "| kv, public headers |")})

    def test_links_lead_somewhere(self):
        self.assert_only("links", {"docs/a.md": "[x](missing.md)\n"})

    def test_an_exception_works_and_must_be_needed(self):
        long_file = {"src/kv/b.cc": "//\n" * 801}
        self.assertEqual(self.findings(long_file | {"tools/lint/exceptions.txt": "file-size src/kv/b.cc # why\n"}), [])
        self.assert_only("exceptions", {"tools/lint/exceptions.txt": "file-size src/kv/b.cc # why\n"})


class TheTree(unittest.TestCase):
    def test_obeys(self):
        findings = lint.lint(SOURCE)
        self.assertEqual(findings, [], "\n" + "\n".join(f"{p}:{n}: {r}: {t}" for p, n, r, t in findings))

    def test_each_public_header_compiles_alone(self):
        compiler = os.environ.get("VELLUM_CXX", "c++")
        for header in sorted((SOURCE / "include" / "vellum").glob("*.h")):
            with self.subTest(header=header.name):
                done = subprocess.run([compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                                       "-I", str(SOURCE / "include"), "-x", "c++", "-include", "vellum/" + header.name, os.devnull],
                                      capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    runner.main()
