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

# tool NAME PACKAGE VERSION: a newer pin has another stamp, and builds again.
tool() {
	stamp=$tools/stamps/$1@$3
	if [ -x "$bin/$1" ] && [ -e "$stamp" ]; then
		return
	fi
	echo "install.sh: building $1 $3" >&2
	rm -f "$tools/stamps/$1@"*
	GOBIN=$bin GOFLAGS='' CGO_ENABLED=0 go install "$2@$3" || fail "could not build $2@$3"
	[ -x "$bin/$1" ] || fail "$2@$3 built no $1"
	: >"$stamp"
}

tool oras oras.land/oras/cmd/oras v1.3.6
tool crane github.com/google/go-containerregistry/cmd/crane v0.22.1
tool regctl github.com/regclient/regclient/cmd/regctl v0.11.7
tool cosign github.com/sigstore/cosign/v3/cmd/cosign v3.1.3
tool helm helm.sh/helm/v3/cmd/helm v3.22.0
tool registry github.com/distribution/distribution/v3/cmd/registry v3.1.2
