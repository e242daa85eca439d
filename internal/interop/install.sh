#!/bin/sh
# Installs what the interoperability suite runs against: what is missing or has
# another version, and nothing else.
#
#   install.sh            install
#   install.sh --bindir   print the directory of the tools that Go builds
#
# AIRDECK_TOOLS names another place for them than the user's cache directory.
set -eu

tools=${AIRDECK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/airdeck-interop}
# go install takes a relative directory for an error, and go test runs elsewhere.
case $tools in
/*) ;;
*) tools=$(pwd)/$tools ;;
esac
bin=$tools/bin

fail() {
	echo "install.sh: $*" >&2
	exit 1
}

case ${1-} in
'') ;;
--bindir)
	echo "$bin"
	exit
	;;
*) fail "unknown argument $1: there is --bindir" ;;
esac

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		command -v sudo >/dev/null || fail "to run $1 takes root or sudo"
		sudo "$@"
	fi
}

# Packages, each with a command of its that tells whether it is there.
missing=
for p in skopeo:skopeo docker-registry:docker-registry tar:tar zstd:zstd docker.io:dockerd docker.io:docker \
	containerd:ctr podman:podman iptables:iptables; do
	command -v "${p#*:}" >/dev/null || missing="$missing ${p%%:*}"
done
if [ -n "$missing" ]; then
	command -v apt-get >/dev/null || fail "no apt-get here: install$missing by hand"
	as_root apt-get update -qq || fail "apt-get update failed"
	# shellcheck disable=SC2086 # one word a package
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 ||
		fail "apt-get could not install$missing"
fi

command -v go >/dev/null || fail "there is no go: https://go.dev/doc/install"
mkdir -p "$bin" "$tools/stamps"

# build NAME VERSION PROGRAM COMMAND...: COMMAND is a go install that makes PROGRAM,
# which is kept as NAME. A newer version has another stamp, and is built again.
build() {
	name=$1 version=$2 program=$3
	shift 3
	stamp=$tools/stamps/$name@$version
	if [ -x "$bin/$name" ] && [ -e "$stamp" ]; then
		return
	fi
	echo "install.sh: building $name $version" >&2
	rm -f "$tools/stamps/$name@"*
	# A download of go's can hang for good. What a try has fetched and compiled is kept.
	for limit in 300 600 900; do
		GOBIN=$tools/new GOFLAGS='' CGO_ENABLED=0 timeout $limit "$@" && break
		[ $? -eq 124 ] && [ $limit -lt 900 ] || fail "could not build $name $version"
		echo "install.sh: $name took over $limit s, and is tried again" >&2
	done
	mv "$tools/new/$program" "$bin/$name" || fail "the build of $name $version made no $program"
	: >"$stamp"
}

# tool NAME PACKAGE VERSION
tool() {
	build "$1" "$3" "${2##*/}" go install "$2@$3"
}

tool oras oras.land/oras/cmd/oras v1.3.6
tool crane github.com/google/go-containerregistry/cmd/crane v0.22.1
tool regctl github.com/regclient/regclient/cmd/regctl v0.11.7
tool cosign github.com/sigstore/cosign/v3/cmd/cosign v3.1.3
tool helm helm.sh/helm/v3/cmd/helm v3.22.0
tool registry github.com/distribution/distribution/v3/cmd/registry v3.1.2
for p in age age-keygen age-plugin-batchpass; do
	tool $p filippo.io/age/cmd/$p v1.3.2
done
# The engine of Docker 29. Debian's dockerd is a tool of the suite as well.
tool moby-dockerd github.com/moby/moby/v2/cmd/dockerd v2.0.0-beta.24

fluxoci=$(dirname "$0")/fluxoci
build fluxoci "$(cat "$fluxoci"/* | cksum | cut -d ' ' -f 1)" fluxoci go install -C "$fluxoci" -buildvcs=false .
