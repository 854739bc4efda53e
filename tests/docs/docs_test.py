"""What the documents say is so: their commands are run against a fresh server, their metrics and flags are compared with it.

A block of ```console holds lines that begin with "$ " and, under each, what it prints; "..." there stands for anything.
docs/metrics.md is written from a live server: after a change, run this test with VELLUM_REWRITE_DOCS=1 and read the diff.
"""
import http.client
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests"))

from support import runner  # noqa: E402
from support.client import ClientTest, pb, put_op  # noqa: E402
from support.server import BUILD, PATIENCE, PROGRAM  # noqa: E402

METRICS = SOURCE / "docs" / "metrics.md"
DEFAULT_ADDRESS = ":".join(("127.0.0.1", "2379"))  # what the documents say, and no test listens on
NAME = re.compile(r"\b(?:vellum|etcd|storage|grpc|process|os)_[a-z0-9_]+\b")
HEAD = """# Metrics

What `/metrics` exposes, in Prometheus' text format, from a server that has been used a little. The names that begin with `etcd_`,
`grpc_`, `process_` and `os_` are etcd's; those of rafts and peers are constant, there is one member. This page is written by
`tests/docs/docs_test.py`.

| name | type | what it is |
|---|---|---|
"""


def documents():
    return [SOURCE / "README.md", SOURCE / "src" / "README.md", *sorted((SOURCE / "docs").rglob("*.md"))]


def console_blocks(path):
    """[(line, [(command, expected lines)])] of a document."""
    blocks = []
    for match in re.finditer(r"^```console\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        commands = []
        for line in match.group(1).splitlines():
            if line.startswith("$ "):
                commands.append((line[2:], []))
            else:
                commands[-1][1].append(line)
        blocks.append((path.read_text(encoding="utf-8").count("\n", 0, match.start()) + 1, commands))
    return blocks


class Commands(ClientTest):
    def test_of_each_document(self):
        for path in documents():
            blocks = console_blocks(path)
            if not blocks:
                continue
            with self.subTest(document=path.name):
                self.run_blocks(path, blocks, self.start_server())

    def run_blocks(self, path, blocks, server):
        tests = pathlib.Path(server.directory) / "tests"  # the documents' commands name fixtures
        if not tests.exists():
            tests.symlink_to(SOURCE / "tests")
        shell = subprocess.Popen(["bash", "-u"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 cwd=server.directory, env=dict(os.environ, ETCDCTL_ENDPOINTS=server.address,
                                                                PATH=f"{BUILD}:{os.environ['PATH']}"))
        self.addCleanup(shell.wait)
        self.addCleanup(shell.stdout.close)
        self.addCleanup(shell.kill)
        for line, commands in blocks:
            for command, expected in commands:
                printed = self.run_command(shell, command.replace(DEFAULT_ADDRESS, server.address))
                printed = [text for text in printed if not text.startswith('{"level":"warn"')]
                pattern = "\n".join(re.escape(text).replace(r"\.\.\.", ".*") for text in expected)
                self.assertRegex("\n".join(printed), rf"\A{pattern}\Z", f"{path.name}:{line}: {command}")
        shell.stdin.close()

    def run_command(self, shell, command):
        mark = "==done=="
        shell.stdin.write(f"{{ {command}\n}} </dev/null; printf '\\n{mark}\\n'\n")
        shell.stdin.flush()
        printed = []
        for text in shell.stdout:
            if text.rstrip("\n") == mark:
                break
            printed.append(text.rstrip("\n"))
        return printed[:-1] if printed and printed[-1] == "" else printed


class Reference(ClientTest):
    def scrape(self):
        server, client = self.serve("--metrics=extensive")
        lease = client.grant(100).ID
        client.put(b"k", b"v", lease=lease)
        client.txn(success=[put_op(b"k"), put_op(b"l")])
        client.get(b"k")
        client.delete(b"k")
        client.compact(2, physical=True)
        client.maintenance.HashKV(pb.HashKVRequest())
        client.maintenance.Defragment(pb.DefragmentRequest())
        client.raw("/vellum.sync.v1.Syncs/Sweep")
        member = client.maintenance.Status(pb.StatusRequest()).header.member_id
        client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=member, alarm=pb.NOSPACE))
        stream = self.open_watch(client)
        stream.created(b"k")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20 * PATIENCE)
        for path in ("/health", "/readyz", "/livez", "/metrics"):
            connection.request("GET", path)
            text = connection.getresponse().read().decode()
        connection.close()
        return text

    def test_metrics(self):
        text = self.scrape()
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        helps = dict(re.findall(r"^# HELP (\S+) ?(.*)$", text, re.MULTILINE))
        rows = [f"| `{name}` | {kinds[name]} | {helps.get(name, '')} |".replace("  ", " ") for name in sorted(kinds)]
        page = HEAD + "\n".join(rows) + "\n"
        if os.environ.get("VELLUM_REWRITE_DOCS"):
            METRICS.write_text(page, encoding="utf-8")
        self.assertEqual(METRICS.read_text(encoding="utf-8"), page)
        for name in kinds:
            self.assertNotEqual(helps.get(name, ""), "", f"{name} has no help")
        self.check_mentions(set(kinds))

    def check_mentions(self, families):
        for path in documents():
            for name in set(NAME.findall(path.read_text(encoding="utf-8"))):
                plain = re.sub(r"_(bucket|count|sum)$", "", name)
                if name.endswith("_"):  # a family of names, "vellum_compaction_*"
                    self.assertTrue(any(family.startswith(name) for family in families), f"{path.name}: {name}*")
                elif not (SOURCE / "tests" / "docs" / name).exists() and not name.endswith("_test"):
                    self.assertIn(plain, families | NOT_METRICS, f"{path.name} names {name}")

    def test_flags(self):
        listed = set(re.findall(r"`--([a-z0-9-]+)", (SOURCE / "docs" / "flags.md").read_text(encoding="utf-8")))
        offered = set()
        for words in (["serve", "--help"], ["etcd", "--help"]):
            done = subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, check=True)
            offered |= set(re.findall(r"^\s+--([a-z0-9-]+)", done.stdout, re.MULTILINE))
        self.assertEqual(sorted(offered - listed), [], "flags that docs/flags.md lacks")
        tools = {"physical", "data-dir", "accept-loss", "prefix", "rev", "keys", "lease", "print-value-only", "version", "all", "quick"}
        sync_verbs = ("import", "merge", "compact", "rollback", "export", "grants", "get", "access", "diff", "retain", "rollup")
        for group, verbs in (("sync", sync_verbs), ("c1z", ("merge", "grants")), ("bench", ())):
            for words in [[group, verb] for verb in verbs] or [[group]]:
                done = subprocess.run([str(PROGRAM), *words, "--help"], capture_output=True, text=True, check=True)
                tools |= set(re.findall(r"--([a-z0-9-]+)", done.stdout))
        for path in documents():
            for line in path.read_text(encoding="utf-8").splitlines():
                if re.search(r"\b(etcdctl|cmake|curl|gtest_filter|python3|vellum_\w+)\b|\./dev\b", line):
                    continue
                for name in re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", line):
                    self.assertIn(name, listed | tools, f"{path.name} names --{name}")


def build_targets():
    """Names of the build that documents may mention and that look like metrics."""
    names = set()
    for path in SOURCE.rglob("CMakeLists.txt"):
        if "build" in path.relative_to(SOURCE).parts:
            continue
        for kind, name in re.findall(r"\b(vellum_room|vellum_room_test|vellum_fuzz|vellum_sync_crash_program|add_executable|add_library|add_custom_target)\((\w+)",
                                     path.read_text(encoding="utf-8")):
            names.add({"vellum_room": f"vellum_{name}", "vellum_room_test": f"vellum_{name}_test",
                       "vellum_fuzz": f"vellum_fuzz_{name}"}.get(kind, name))
    return names


NOT_METRICS = build_targets()

if __name__ == "__main__":
    runner.main()
