# Shared by the benchmarks: sourced, not run.
# Every figure is a median over ROUNDS runs, both sides in turn on the same machine, and the ratio is of the two medians.

ROUNDS="${ROUNDS:-5}"

say() { printf '%s\n' "$*" >&2; }

# Installs Debian packages that are missing: need COMMAND PACKAGE.
need() {
  command -v "$1" >/dev/null && return
  command -v apt-get >/dev/null || { say "install $2 first"; exit 1; }
  say "installing $2"
  [ -n "${APT_UPDATED:-}" ] || { apt-get update -qq; APT_UPDATED=1; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}

now_ms() { date +%s%3N; }

# Median of the numbers on standard input.
median() { sort -n | awk '{ v[NR] = $1 } END { if (NR == 0) { print "-"; exit } m = int((NR + 1) / 2); print (NR % 2) ? v[m] : (v[m] + v[m + 1]) / 2 }'; }

# One row: row NAME UNIT PEER OURS; the ratio says how many times smaller ours is.
row() {
  awk -v name="$1" -v unit="$2" -v peer="$3" -v ours="$4" 'BEGIN {
    ratio = (peer + 0 > 0 && ours + 0 > 0) ? sprintf("%.1f", peer / ours) : "-"
    printf "| %-44s | %10s %-3s | %10s %-3s | %8s |\n", name, peer, unit, ours, unit, ratio }'
}

# The same, where more is better: the ratio says how many times larger ours is.
row_more() {
  awk -v name="$1" -v unit="$2" -v peer="$3" -v ours="$4" 'BEGIN {
    ratio = (peer + 0 > 0 && ours + 0 > 0) ? sprintf("%.1f", ours / peer) : "-"
    printf "| %-44s | %10s %-3s | %10s %-3s | %8s |\n", name, peer, unit, ours, unit, ratio }'
}

header() { printf '| %-44s | %14s | %14s | %8s |\n|---|---|---|---|\n' "what" "$1" "$2" "ratio"; }

# within SECONDS PAUSE COMMAND...: until the command is true.
within() {
  local until=$((SECONDS + $1)) pause=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || { say "not in time: $*"; return 1; }
    sleep "$pause"
  done
}

# Resident bytes of a process in KiB.
rss_kib() { awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"; }

# Proportional set size of a process in KiB.
pss_kib() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }

# When the last task of a Docker service began to run, by its own word: last_running_ms SERVICE DOCKER-COMMAND...
last_running_ms() {
  local service=$1; shift
  "$@" inspect --format '{{.Status.Timestamp}}' $("$@" service ps -q "$service") |
    sed -E 's/^([0-9-]+) ([0-9:.]+).*/\1T\2Z/' | while read -r at; do date -d "$at" +%s%3N; done | sort -n | tail -n 1
}

# A static busybox as a root filesystem's tar: busybox_tar FILE.
busybox_tar() {
  local dir; dir=$(mktemp -d)
  mkdir -p "$dir/bin" "$dir/tmp" "$dir/etc"
  cp "$(command -v busybox)" "$dir/bin/busybox"
  for word in sh sleep true cat echo; do ln -s busybox "$dir/bin/$word"; done
  echo 'root:x:0:0:root:/:/bin/sh' >"$dir/etc/passwd"
  tar -C "$dir" -cf "$1" .
  rm -rf "$dir"
}

# Builds in release mode: build ARGUMENTS-FOR-CARGO...
build() { cargo build --release --locked "$@" >&2; }

# Where the build put something: built FILE. The folder has the target's name in it, or not, as the configuration says.
built() {
  local file
  for file in "${CARGO_TARGET_DIR:-$PWD/target}"/{*/,}release/"$1"; do
    [ -x "$file" ] && { printf '%s\n' "$file"; return; }
  done
  say "the build made no $1"
  return 1
}
