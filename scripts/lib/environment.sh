# shellcheck shell=bash
# Sourced by the scripts: goes to the root of the project, and brings the pinned Node and the tools.
# Needs only some Node (20 or newer), npm and what a shell has.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
export PATH="$PWD/node_modules/.bin:$PATH"
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-16}" # password checks and fsync share it
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}" # else freed message buffers stay spread over one arena a thread

# Installs what package-lock.json says, unless it is there already.
ensure_dependencies() {
  command -v npm >/dev/null || { echo "npm is needed: https://nodejs.org" >&2; return 1; }
  if ! node scripts/lib/dependencies-fresh.mjs; then
    echo "installing the dependencies" >&2
    # without its old node: the one of node_modules is about to be replaced
    PATH="${PATH//"$PWD/node_modules/.bin:"/}" npm ci --ignore-scripts --no-audit --no-fund >&2 || return 1
  fi
  # npm 10 installs the pinned Node and does not link it
  local binary wanted found
  for binary in node_modules/node-*/bin/node; do
    if [ -x "$binary" ] && [ ! -e node_modules/.bin/node ]; then ln -s "../${binary#node_modules/}" node_modules/.bin/node; fi
  done
  hash -r
  wanted=$(node -p 'require("./scripts/node-runtime/package.json").version')
  found=$(node -p process.versions.node)
  if [ "${found%%.*}" -lt "${wanted%%.*}" ]; then
    echo "Node $wanted is needed, this is $found, and npm brings none for $(uname -sm)" >&2
    return 1
  fi
}
