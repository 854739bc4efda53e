#!/usr/bin/env bash
# Builds RocksDB from Debian's source package as a release: optimised, without the assertions that Debian's own build has, as a
# static library. It goes into a cache outside the build folder, and a release build of Vellum takes it when it is there.
#
#   tools/rocksdb.sh          build it, unless the cache has it
#   tools/rocksdb.sh --path   print where it is or would be
#   tools/rocksdb.sh --remove forget it
#
# The source is the one of the version whose headers are installed (librocksdb-dev). apt-get fetches it with lists and sources
# of its own in the cache, so nothing of the system's packages or configuration changes, and no root is needed.
set -euo pipefail

die() { printf 'rocksdb: %s\n' "$*" >&2; exit 1; }

# One recipe, one folder: a change to the flags below must not find the old library.
recipe=1
version=$(dpkg-query -W -f='${Version}' librocksdb-dev 2>/dev/null) || die "librocksdb-dev is not installed; './dev packages' installs it"
# Checksums are a large part of what RocksDB computes, and faster with the newer instructions where this machine has them.
march=
sse42=OFF
if [ "$(uname -m)" = x86_64 ]; then
  march=x86-64-v2
  # Asks the processor when it runs, too.
  sse42=ON
  if grep -qw avx2 /proc/cpuinfo && grep -qw bmi2 /proc/cpuinfo; then march=x86-64-v3; fi
fi
cache=${VELLUM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vellum}
prefix=$cache/rocksdb-$version-$(uname -m)${march:+-${march##*-}}-$recipe

case ${1:-} in
  --path) printf '%s\n' "$prefix"; exit ;;
  --remove) rm -rf "$prefix"; exit ;;
  '') ;;
  *) die "unknown argument '$1'" ;;
esac
if [ -e "$prefix/lib/librocksdb.a" ]; then
  printf 'rocksdb: it is there: %s\n' "$prefix" >&2
  exit
fi
command -v dpkg-source >/dev/null || die "dpkg-source is missing: install the package dpkg-dev"

mkdir -p "$cache"
work=$(mktemp -d "$cache/rocksdb-build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The system's own mirrors, asked for sources.
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
signed=
if [ -r "$keyring" ]; then signed="[signed-by=$keyring] "; fi
# shellcheck disable=SC2016  # apt-get expands these
apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
  sort -u | sed "s|^|deb-src $signed|" >"$work/apt/sources.list"
[ -s "$work/apt/sources.list" ] || printf 'deb-src %shttp://deb.debian.org/debian bookworm main\n' "$signed" >"$work/apt/sources.list"
apt() {
  apt-get -q -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache::Archives="$work/apt/archives" -o Dir::Cache::pkgcache= \
    -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=true -o APT::Sandbox::User= "$@"
}
log=$cache/rocksdb-build.log
printf 'rocksdb: fetching the source of %s; log: %s\n' "$version" "$log" >&2
(cd "$work" && apt update && apt --only-source source "rocksdb=$version") >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "no source"; }

source=$(find "$work" -maxdepth 1 -type d -name 'rocksdb-[0-9]*' | head -n 1)
[ -n "$source" ] || die "the source package has no folder rocksdb-*"
printf 'rocksdb: building; this takes half an hour on two processors\n' >&2
launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
{
  # The same libraries and features as Debian's, so that its headers describe this build, too.
  cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$work/prefix" \
    -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG -g1 ${march:+-march=$march} -fno-semantic-interposition" \
    -DPORTABLE=ON -DFORCE_SSE42="$sse42" -DUSE_RTTI=ON -DFAIL_ON_WARNINGS=OFF -DROCKSDB_BUILD_SHARED=OFF -DWITH_TESTS=OFF -DWITH_TOOLS=OFF \
    -DWITH_CORE_TOOLS=OFF -DWITH_BENCHMARK_TOOLS=OFF -DWITH_GFLAGS=OFF -DWITH_LZ4=ON -DWITH_SNAPPY=ON -DWITH_ZLIB=ON \
    -DWITH_ZSTD=ON -DWITH_BZ2=ON -DWITH_LIBURING=OFF -DWITH_JEMALLOC=OFF "${launcher[@]}"
  nice cmake --build "$work/build" --target rocksdb -j"${VELLUM_JOBS:-$(nproc)}"
} >>"$log" 2>&1 </dev/null || { tail -n 30 "$log" >&2; die "the build failed; all of it: $log"; }

# Whole or not at all: the folder appears with its library in it.
mkdir -p "$work/prefix/lib"
cp "$(find "$work/build" -maxdepth 2 -name librocksdb.a | head -n 1)" "$work/prefix/lib/"
printf '%s\n' "$version" >"$work/prefix/VERSION"
mv -T "$work/prefix" "$prefix"
printf 'rocksdb: %s\nrocksdb: release builds of Vellum take it from now on, once they are configured again\n' "$prefix" >&2
