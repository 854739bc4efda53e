"""What is installed can be used: programs that embed the store, built in the three ways in which people build."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests"))

from support import runner  # noqa: E402
from support.server import BUILD  # noqa: E402

COMPILER = os.environ.get("VELLUM_CXX", "c++")
EXAMPLES = ("embed", "compact")
CONSUMER = """cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
{find}
foreach(example {examples})
  add_executable(${{example}} "{source}/examples/${{example}}/${{example}}.cc")
  target_link_libraries(${{example}} PRIVATE vellum::vellum)
endforeach()
"""


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(str(word) for word in words)} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="vellum-package-")
        cls.root = pathlib.Path(cls.directory.name)
        run("cmake", "--install", BUILD, "--prefix", cls.root / "first")
        (cls.root / "first").rename(cls.root / "prefix")  # what was installed may be moved
        cls.prefix = cls.root / "prefix"

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def consume(self, name, find, *arguments):
        consumer = self.root / name
        consumer.mkdir()
        text = CONSUMER.format(find=find, source=SOURCE, examples=" ".join(EXAMPLES))
        (consumer / "CMakeLists.txt").write_text(text, encoding="utf-8")
        run("cmake", "-S", consumer, "-B", consumer / "build", "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={COMPILER}", *arguments)
        run("cmake", "--build", consumer / "build", "--target", *EXAMPLES)
        for example in EXAMPLES:
            program = consumer / "build" / example
            self.run_example(program if program.is_file() else next(path for path in consumer.rglob(example) if path.is_file()))

    def run_example(self, program):
        with tempfile.TemporaryDirectory(prefix="vellum-embed-") as directory:
            self.assertNotEqual(run(program, directory, cwd=directory), "")

    def test_find_package(self):
        self.consume("found", "find_package(vellum 0.1 CONFIG REQUIRED)", f"-DCMAKE_PREFIX_PATH={self.prefix}")

    def test_pkg_config(self):
        environment = dict(os.environ, PKG_CONFIG_PATH=str(next(self.prefix.rglob("pkgconfig"))))
        flags = run("pkg-config", "--static", "--cflags", "--libs", "vellum", env=environment).split()
        for example in EXAMPLES:
            program = self.root / f"{example}-by-pkg-config"
            run(COMPILER, "-std=c++20", SOURCE / "examples" / example / f"{example}.cc", "-o", program, *flags)
            self.run_example(program)

    def test_add_subdirectory(self):
        self.consume("within", f'add_subdirectory("{SOURCE}" vellum)')

    def test_only_the_public_headers_are_installed(self):
        installed = sorted(path.relative_to(self.prefix / "include").as_posix() for path in self.prefix.rglob("*.h"))
        public = sorted("vellum/" + path.name for path in (SOURCE / "include" / "vellum").glob("*.h"))
        self.assertEqual(installed, public)

    def test_nothing_names_the_machine_it_was_built_on(self):
        for pattern in ("*.cmake", "*.pc"):
            for path in self.prefix.rglob(pattern):
                text = path.read_text(encoding="utf-8")
                self.assertNotIn(str(SOURCE), text, path)
                self.assertNotIn(str(BUILD), text, path)

    def test_the_program_and_its_other_name(self):
        program = self.prefix / "bin" / "vellum"
        if not program.exists():
            self.skipTest("this build has no program")
        self.assertIn("vellum", run(program, "version").lower())
        self.assertIn("etcd Version: 3.6.16", run(self.prefix / "libexec" / "vellum" / "etcd", "--version"))


if __name__ == "__main__":
    runner.main()
