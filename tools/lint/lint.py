#!/usr/bin/env python3
"""The rules of the house that a program can check: lint.py [ROOT]. Prints "path:line: rule: what", exits 1 if there is any.

src/README.md is the truth about rooms and arrows. Exceptions stand in tools/lint/exceptions.txt, one "rule path" or
"rule path name" a line; one that is no longer needed is a finding itself, so the list can only shrink.
"""
import ast
import pathlib
import re
import sys

import cpp

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 80
PUBLIC_HEADERS_MAX = 12
PUBLIC_HEADER_LINES_MAX = 300
PUBLIC_LINES_MAX = 2500

CODE = (".h", ".cc", ".py")
TEXT = CODE + (".md", ".txt", ".cmake", ".json", ".proto", ".yaml", ".yml", ".in", ".pc", ".sh", "")
FOLDERS = (".ci", "bench", "cmake", "docs", "examples", "include", "proto", "src", "tests", "tools")

# Third-party headers and where they may be included. A header that another room includes may never include them.
THIRD_PARTY = (
    ("rocksdb/", ("src/storage/", "bench/", "tests/")),
    ("nghttp2/", ("src/wire/", "bench/", "tests/")),
    ("grpcpp/", ("src/client/", "bench/", "tests/")),
    ("grpc/", ("src/client/", "bench/", "tests/")),
    ("openssl/", ("src/wire/", "src/sync/", "src/c1z/", "tests/")),
    ("boost/", ("src/wire/", "src/storage/", "tests/")),
    ("yaml-cpp/", ("src/server/",)),
    ("CLI/", ("src/server/", "src/cli/", "bench/")),
    ("google/protobuf/", ("src/rpc/", "src/sync/", "src/c1z/", "src/client/", "src/server/", "src/cli/main.cc", "bench/", "tests/")),
    ("prometheus/", ("src/base/",)),
    ("sqlite3.h", ("src/c1z/", "bench/", "tests/")),
    ("zstd.h", ("src/c1z/", "bench/", "tests/")),
)
# Headers whose types are meant to be seen through: base's metrics are prometheus-cpp's.
SEEN_THROUGH = ("prometheus/",)

SLEEPS = re.compile(r"\b(?:sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\(")
FIXED_PORT = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\]|0\.0\.0\.0):[1-9][0-9]{2,4}\b")
FIXED_PATH = re.compile(r"""["'](?:/tmp|/var/tmp|/dev/shm)/""")
SWITCHED_OFF = re.compile(r"^\s*(?://\s*(?:TEST|TEST_F|TEST_P|TYPED_TEST)\s*\(|# ?(?:add_test|vellum_room_test|"
                          r"vellum_python_test|gtest_discover_tests)\s*\(|#\s*def test_)|\bDISABLED_\w", re.MULTILINE)
IMPURE = re.compile(r"\bsystem_clock::now\b|\b(?:std::)?s?rand\s*\(|\brandom_device\b|\bgettimeofday\s*\(|\btime\s*\(\s*(?:nullptr|NULL|0)\s*\)")
LEAVES = re.compile(r"(?<![\w.>])(?:std::)?(?:exit|quick_exit)\s*\(")
# Written in pieces so that this file does not find itself.
MACHINE = re.compile("/wo" + r"rk/|/tm" + r"p/v\b|\.\./sha" + r"red|/ro" + r"ot/\w|/ho" + r"me/\w")
MARKS = re.compile(r"\b(?:TO" + r"DO(?!\(#\d+\))|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")


class Tree:
    """The files that are checked, read once."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.files = {}
        for folder in FOLDERS:
            for path in sorted((self.root / folder).rglob("*")):
                self._take(path)
        for path in sorted(self.root.iterdir()):
            self._take(path)

    def _take(self, path):
        if not path.is_file() or path.is_symlink() or path.suffix not in TEXT or "__pycache__" in path.parts or path.name == ".git":
            return
        try:
            self.files[path.relative_to(self.root).as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            pass  # corpora and golden files

    def matching(self, *suffixes, under=""):
        return [(path, text) for path, text in self.files.items() if path.endswith(suffixes) and path.startswith(under)]


def is_test(path):
    return path.endswith("_test.cc") or path.startswith("tests/") or "/testing/" in path


def rooms_of(readme):
    """[(room, folder, what it is, rooms it may use)] in the order of the table in src/README.md."""
    rows, names = [], []
    for line in readme.splitlines():
        match = re.match(r"\|\s*\[`([^`]+)`\]\(([^)]+)\)\s*\|([^|]*)\|([^|]*)\|", line)
        if not match:
            continue
        name = "include" if match.group(1).startswith("../include") else match.group(1)
        may_use = set()
        for word in (part.strip() for part in match.group(4).split(",")):
            if word == "everything above":
                may_use |= set(names)
            elif word == "public headers":
                may_use.add("include")
            elif word != "the standard library":
                may_use.add(word)
        rows.append((name, match.group(2), match.group(3).strip(), may_use))
        names.append(name)
    return rows


def check_rooms(tree):
    rows = rooms_of(tree.files.get("src/README.md", ""))
    above = set()
    for name, folder, sentence, may_use in rows:
        place = "include/vellum/" if name == "include" else f"src/{folder}/"
        if not any(path.startswith(place) for path in tree.files):
            yield "src/README.md", 1, "rooms", f"'{name}' has a sentence but no folder", name
        if len(sentence.split()) < 3:
            yield "src/README.md", 1, "rooms", f"'{name}' has no sentence", name
        for used in sorted(may_use - above):
            yield "src/README.md", 1, "rooms", f"'{name}' may use '{used}', which does not stand above it", name
        above.add(name)
    folders = {path.split("/")[1] for path in tree.files if path.startswith("src/") and path.count("/") >= 2}
    for folder in sorted(folders - above):
        yield f"src/{folder}", 1, "rooms", "a folder without its row in src/README.md", folder


def check_arrows(tree):
    may_use = {name: uses | {name, "include"} for name, _, _, uses in rooms_of(tree.files.get("src/README.md", ""))}
    for path, text in tree.matching(".h", ".cc", under="src/"):
        room = path.split("/")[1]
        for line, quoted, target in cpp.includes(text):
            first = target.split("/")[0]
            if not quoted:
                if first == "vellum":
                    yield path, line, "arrows", f'<{target}>: project headers are included with quotes', target
                continue
            if target.endswith(".pb.h"):
                continue
            used = "include" if first == "vellum" else first
            if "/" not in target or used not in may_use:
                yield path, line, "arrows", f'"{target}" does not begin with a room', target
            elif used not in may_use.get(room, set()):
                yield path, line, "arrows", f"'{room}' must not use '{used}' (\"{target}\"); src/README.md has the arrows", target


def check_third_party(tree):
    code = tree.matching(".h", ".cc")
    used_outside = set()  # headers of src/ that another room includes
    for path, text in code:
        for _, quoted, target in cpp.includes(text):
            if quoted and not path.startswith("src/" + target.split("/")[0] + "/"):
                used_outside.add("src/" + target)
    for path, text in code:
        for line, _, target in cpp.includes(text):
            if target.endswith(".grpc.pb.h") and not path.startswith(("src/client/", "bench/", "tests/")):
                yield path, line, "third-party", f"<{target}> pulls in gRPC C++, which stays in src/client", target
            if target.endswith(".pb.h"):
                continue  # made from proto/; some of its packages are called like gRPC's headers
            for prefix, homes in THIRD_PARTY:
                if not target.startswith(prefix):
                    continue
                if not path.startswith(homes or ("none",)):
                    yield path, line, "third-party", f"<{target}> belongs in {', '.join(homes) or 'no room yet'}", target
                elif path in used_outside and prefix not in SEEN_THROUGH:
                    yield path, line, "third-party", f"<{target}> in a header that other rooms include", target


def check_public_headers(tree):
    headers = tree.matching(".h", under="include/vellum/")
    total = 0
    for path, text in headers:
        lines = text.count("\n")
        total += lines
        if lines > PUBLIC_HEADER_LINES_MAX:
            yield path, 1, "public", f"{lines} lines; a public header has at most {PUBLIC_HEADER_LINES_MAX}", path
        for line, quoted, target in cpp.includes(text):
            if quoted != target.startswith("vellum/") or (not quoted and re.search(r"[./]", target)):
                yield path, line, "public", f"{target}: public headers name the standard library and vellum/ only", target
    listed = tree.files.get("src/CMakeLists.txt", "")
    for path, _ in headers:
        if listed and not re.search(rf"(?<![\w.]){re.escape(path.rsplit('/', 1)[1])}(?![\w.])", listed):
            yield path, 1, "public", "not among the headers that src/CMakeLists.txt installs", path
    if len(headers) > PUBLIC_HEADERS_MAX:
        yield "include/vellum", 1, "public", f"{len(headers)} headers; at most {PUBLIC_HEADERS_MAX}", "count"
    if total > PUBLIC_LINES_MAX:
        yield "include/vellum", 1, "public", f"{total} lines in all; at most {PUBLIC_LINES_MAX}", "total"
    for path, text in tree.matching(".h"):
        if "#pragma once" not in text:
            yield path, 1, "pragma", "no #pragma once", path


def check_sizes(tree):
    for path, text in tree.matching(*CODE):
        lines = text.count("\n")
        if lines > FILE_LINES_MAX:
            yield path, 1, "file-size", f"{lines} lines; at most {FILE_LINES_MAX}", path
        if path.endswith(".py"):
            found = [(node.lineno, node.end_lineno - node.lineno + 1, node.name) for node in ast.walk(ast.parse(text))
                     if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        else:
            found = cpp.functions(text)
        for first, length, name in found:
            if length > FUNCTION_LINES_MAX:
                yield path, first, "function-size", f"{name} has {length} lines; at most {FUNCTION_LINES_MAX}", name


def check_tests(tree):
    for path, text in tree.matching(*CODE):
        if path.startswith("tools/lint/"):
            continue
        if is_test(path):
            code = cpp.blank(text) if not path.endswith(".py") else text
            for match in SLEEPS.finditer(code):
                yield path, cpp.line_of(code, match.start()), "sleep", "a test waits for a condition, it never sleeps", "sleep"
            literal = cpp.without_comments(text) if not path.endswith(".py") else text
            for match in FIXED_PORT.finditer(literal):
                yield path, cpp.line_of(literal, match.start()), "fixed-port", f"{match.group()}: ask for port 0", match.group()
            for match in FIXED_PATH.finditer(literal):
                yield path, cpp.line_of(literal, match.start()), "fixed-path", "a test has its own temporary directory", "path"
    for path, text in tree.matching(".cc", ".py", "CMakeLists.txt"):
        if path.startswith("tools/lint/"):
            continue
        for match in SWITCHED_OFF.finditer(text):
            yield path, cpp.line_of(text, match.start()), "switched-off", "a test that does not run: fix it or remove it", "off"


def check_purity(tree):
    for path, text in tree.matching(".h", ".cc", under="src/"):
        if is_test(path):
            continue
        code = cpp.blank(text)
        if path.startswith(("src/kv/", "src/sync/")):
            for match in IMPURE.finditer(code):
                yield path, cpp.line_of(code, match.start()), "purity", f"{match.group()}: time and chance are handed in here", "impure"
        for match in LEAVES.finditer(code):
            yield path, cpp.line_of(code, match.start()), "exit", "only main ends the process, by returning", "exit"


def check_text(tree):
    for path, text in tree.files.items():
        for match in MACHINE.finditer(text):
            yield path, cpp.line_of(text, match.start()), "machine-path", f"{match.group()}: not everybody's machine", match.group()
        if not path.endswith(".proto"):
            for match in MARKS.finditer(text):
                yield path, cpp.line_of(text, match.start()), "marks", f"{match.group()}: finish it, or write an issue", match.group()


def check_links(tree):
    for path, text in tree.matching(".md"):
        prose = re.sub(r"^```.*?^```", lambda match: "\n" * match.group().count("\n"), text, flags=re.MULTILINE | re.DOTALL)
        for match in re.finditer(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose):
            target = match.group(1)
            if "://" in target or target.startswith("mailto:"):
                continue
            if not (tree.root / path).parent.joinpath(target).exists():
                yield path, cpp.line_of(prose, match.start()), "links", f"{target} does not exist", target


CHECKS = (check_rooms, check_arrows, check_third_party, check_public_headers, check_sizes, check_tests, check_purity,
          check_text, check_links)


def exceptions_of(tree):
    entries = []
    for number, line in enumerate(tree.files.get("tools/lint/exceptions.txt", "").splitlines(), 1):
        words = line.split("#")[0].split()
        if words:
            entries.append((number, tuple(words)))
    return entries


def lint(root):
    """Every finding as (path, line, rule, text), exceptions applied."""
    tree = Tree(root)
    exceptions = exceptions_of(tree)
    used, findings = set(), []
    for check in CHECKS:
        for path, line, rule, text, name in check(tree):
            hits = [number for number, words in exceptions if words in ((rule, path), (rule, path, name))]
            used.update(hits)
            if not hits:
                findings.append((path, line, rule, text))
    for number, words in exceptions:
        if number not in used:
            findings.append(("tools/lint/exceptions.txt", number, "exceptions", f"no longer needed: {' '.join(words)}"))
    return findings


def main(arguments):
    root = arguments[0] if arguments else pathlib.Path(__file__).resolve().parents[2]
    findings = lint(root)
    for path, line, rule, text in findings:
        print(f"{path}:{line}: {rule}: {text}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
