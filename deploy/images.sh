#!/usr/bin/env bash
# Builds the images of deploy/Dockerfile and tries them, on a machine without a container engine and
# without a registry of images: Debian's buildah builds, and debootstrap makes the base images. As
# root, on Debian.
#
#   deploy/images.sh [FOLDER]
#
# FOLDER (target/images) gets some 6 GB; a second run goes on from what is there.
#
# It takes a release build, so no test runs it. PROGRAMS=target/release takes the programs of that
# folder in place of the Dockerfile's stage that compiles. It prints the sizes, and ends with 0
# where all three programs ran as the image's user on a read-only root, passed the image's own
# health check, and did their work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ "$(id -u)" = 0 ] || { echo "deploy/images.sh: needs root, for chroot and mounts" >&2; exit 1; }
mkdir -p "${1:-target/images}"
work=$(cd "${1:-target/images}" && pwd)
version=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
runtime=docker.io/library/debian:bookworm-slim
builder=docker.io/library/rust:$version-slim-bookworm

missing=()
for program in buildah debootstrap jq; do
    command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} = 0 ] || apt-get install -y --no-install-recommends "${missing[@]}"

store() { buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"; }
has() { store inspect --type image "$1" >/dev/null 2>&1; }
# Without layers: each would be a copy of all files.
build() { store bud --isolation chroot --format docker --layers=false --pull-never "$@"; }

# The base that Docker's registry has: a minimal Debian.
if ! has "$runtime"; then
    [ -d "$work/debian" ] || debootstrap --variant=minbase bookworm "$work/debian.new" http://deb.debian.org/debian
    [ -d "$work/debian" ] || mv "$work/debian.new" "$work/debian"
    rm -rf "$work/debian/var/cache/apt/archives/"*.deb "$work/debian/var/lib/apt/lists/"*
    container=$(store from scratch)
    store copy -q "$container" "$work/debian" /
    store config --cmd bash "$container"
    store commit -q --format docker --rm "$container" "$runtime"
fi

# The other base: the same with a C compiler and this machine's own toolchain, of the version that
# the repository names.
if [ -z "${PROGRAMS:-}" ] && ! has "$builder"; then
    sysroot=$(rustc "+$version" --print sysroot)
    container=$(store from --pull-never "$runtime")
    store run --isolation chroot "$container" -- sh -c \
        'apt-get update -q && apt-get install -q -y --no-install-recommends ca-certificates gcc libc6-dev'
    store copy -q "$container" "$sysroot/bin" /usr/local/rust/bin
    store copy -q "$container" "$sysroot/lib" /usr/local/rust/lib
    # Where the base of Docker's registry has them.
    store config --env CARGO_HOME=/usr/local/cargo \
        --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    store commit -q --format docker --rm "$container" "$builder"
fi

# The Dockerfile as it is, up to the stage that compiles. The crates come from this machine's cache
# or from the registry.
registry=${CARGO_HOME:-$HOME/.cargo}/registry
mkdir -p "$registry"
commit=$(git rev-parse HEAD)
if [ -n "${PROGRAMS:-}" ]; then
    commit=programs-$(cat "$PROGRAMS"/messenger "$PROGRAMS"/messenger-api "$PROGRAMS"/messenger-gateway | sha256sum | cut -c1-12)
fi
if [ -n "${PROGRAMS:-}" ] && ! has "localhost/messenger-build:$commit"; then
    rm -rf "$work/out"
    mkdir -p "$work/out/data"
    for program in messenger messenger-api messenger-gateway; do
        strip --strip-debug -o "$work/out/$program" "$PROGRAMS/$program"
    done
    container=$(store from --pull-never "$runtime")
    store copy -q "$container" "$work/out" /out
    store commit -q --format docker --rm "$container" "localhost/messenger-build:$commit"
fi
if ! has "localhost/messenger-build:$commit"; then
    build --volume "$registry:/usr/local/cargo/registry" --build-arg COMMIT="$commit" --target build \
        -t "localhost/messenger-build:$commit" -f deploy/Dockerfile .
fi
# The other stages, from the results of the two that they share: each target would make them anew.
stage_from() { # STAGE IMAGE: the Dockerfile on standard input, with the stage replaced
    awk -v stage="$1" -v image="$2" \
        '/^FROM / { skip = 0 } $1 == "FROM" && $4 == stage { print "FROM " image " AS " stage; skip = 1 } !skip'
}
stage_from build "localhost/messenger-build:$commit" <deploy/Dockerfile >"$work/Dockerfile.runtime"
has "localhost/messenger-runtime:$commit" ||
    build --target runtime -t "localhost/messenger-runtime:$commit" -f "$work/Dockerfile.runtime" .
stage_from runtime "localhost/messenger-runtime:$commit" <"$work/Dockerfile.runtime" >"$work/Dockerfile"
for target in api gateway messenger; do
    has "localhost/messenger-$target:$commit" ||
        build --target "$target" -t "localhost/messenger-$target:$commit" -f "$work/Dockerfile" .
done

# What runs: each image's files, read-only, under its user, with its variables and those of the
# caller.
umask 022
mkdir -p "$work/bin" "$work/data"
for target in api gateway messenger; do
    image=localhost/messenger-$target:$commit
    config=$(store inspect --type image "$image" | jq .OCIv1.config)
    container=$(store from --pull-never "$image")
    root=$(store mount "$container")
    rm -rf "$work/root-$target"
    cp -a "$root" "$work/root-$target"
    store rm "$container" >/dev/null
    program=$(jq -r '.Entrypoint[0]' <<<"$config")
    jq -r '.Env[]' <<<"$config" >"$work/$target.env"
    store inspect --type image "$image" | jq -r '.Docker.config.Healthcheck.Test[3] // empty' >"$work/$target.health"
    # An earlier run left a link there, through which this would overwrite the image's own program.
    rm -f "$work/bin/$program"
    cat >"$work/bin/$program" <<EOF
#!/bin/bash
# $program of the image $image
while IFS='=' read -r name value; do [ -n "\${!name:-}" ] && [ "\$name" != PATH ] || export "\$name=\$value"; done <"$work/$target.env"
exec unshare --mount --propagation private bash -c '
    mount --bind "\$0" "\$0" && mount --bind "$work/data" "\$0/var/lib/messenger" 2>/dev/null
    mount -t proc proc "\$0/proc" && mount -o remount,ro,bind "\$0" &&
    exec chroot --userspec=$(jq -r .User <<<"$config") "\$0" "\$@"' "$work/root-$target" $program "\$@"
EOF
    chmod +x "$work/bin/$program"
done

echo "=== sizes"
base=$(du -sb --exclude=proc "$work/debian" | cut -f1)
for target in api gateway messenger; do
    all=$(du -sb --exclude=proc "$work/root-$target" | cut -f1)
    printf '%-10s %4d MB, %3d MB of them the programs and the authorities\n' "$target" $((all / 1000000)) $(((all - base) / 1000000))
done
ls -l "$work/root-messenger/usr/local/bin" | awk 'NR > 1 { printf "  %-20s %5.1f MB\n", $NF, $5 / 1000000 }'

# One process, as the README's line starts it: a volume, two ports, nothing else.
echo "=== messenger"
rm -rf "$work/data"
mkdir -p "$work/data"
chown 10001:10001 "$work/data"
port=${PORT:-18000}
start() {
    PORT=$port ADMIN_PORT=$((port + 1000)) "$work/bin/messenger" >"$work/messenger.log" 2>&1 &
    process=$!
    for _ in $(seq 100); do
        healthy && return
        kill -0 "$process" || { cat "$work/messenger.log"; exit 1; }
        sleep 0.1
    done
    exit 1
}
healthy() { ADMIN_PORT=$((port + 1000)) chroot --userspec=10001:10001 "$work/root-messenger" bash -c "$(cat "$work/messenger.health")"; }
stop() { kill -TERM "$process" && wait "$process"; }
ask() { curl -sf "http://127.0.0.1:$port$1" "${@:2}"; }
trap 'kill -KILL "$process" 2>/dev/null || true' EXIT
start
grep -E '^(Uid|Gid)' "/proc/$process/status"
ask /auth/register --json '{"username": "ann", "email": "ann@example.org", "password": "a long enough one"}' >/dev/null
token=$(ask /auth/login --json '{"username": "ann", "password": "a long enough one"}' | jq -r .access_token)
chat=$(ask /chats/create -H "authorization: Bearer $token" --json '{"name": "group"}' | jq .id)
ask /messages/send -H "authorization: Bearer $token" --json "{\"chat_id\": $chat, \"text\": \"kept in the volume\"}" >/dev/null
stop
start
ask "/messages/chat/$chat" -H "authorization: Bearer $token" | jq -e '.items[0].text == "kept in the volume"' >/dev/null
ask / -H 'accept: text/html' | grep -q '<html'
stop
healthy && { echo "the health check passes although nothing runs" >&2; exit 1; }
echo "kept its data over a restart, and its token"

# The cluster, behind both load balancers: the walk of tests/deploy, on the images' programs. The
# harness also reads the documents of a `messenger` that it configures by itself: without the
# image's variables.
echo "=== messenger-api and messenger-gateway"
ln -sf "$work/root-messenger/usr/local/bin/messenger" "$work/bin/messenger"
MESSENGER_TEST_BIN_DIR="$work/bin" cargo test -p messenger --test messenger -- the_walk_through_goes_through_it
