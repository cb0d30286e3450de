#!/bin/sh
# fetch-wikitext.sh - downloads the test split of WikiText-2 (raw) to data/wiki.test.raw.
#
# Does nothing when the right file is there.  Needs curl or wget, and one of unzip, python3 or
# bsdtar.  SURPRISAL_WIKITEXT_URL replaces the public addresses: one or more, separated by spaces;
# with curl also file://.
set -eu

sha256=173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08
urls=${SURPRISAL_WIKITEXT_URL:-"
https://huggingface.co/datasets/ggml-org/ci/resolve/main/wikitext-2-raw-v1.zip
https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-raw-v1.zip"}
member=wikitext-2-raw/wiki.test.raw
folder=$(cd "$(dirname "$0")" && pwd)
target=$folder/wiki.test.raw

has() { command -v "$1" >/dev/null 2>&1; }
fail() {
    echo "fetch-wikitext: $*" >&2
    exit 1
}

digest() {      # digest FILE: its SHA-256 in hexadecimal
    if has sha256sum; then sha256sum < "$1"
    elif has shasum; then shasum -a 256 < "$1"
    else openssl dgst -sha256 -r < "$1"
    fi | cut -d ' ' -f 1
}

download() {    # download URL FILE
    if has curl; then curl -fsSL --connect-timeout 30 --retry 2 -o "$2" "$1"
    else wget -nv -O "$2" "$1"
    fi
}

unpack() {      # unpack ZIP FOLDER: extracts $member below FOLDER
    if has unzip; then unzip -qq -o "$1" "$member" -d "$2"
    elif has python3; then
        python3 -c 'import sys, zipfile
zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])' "$1" "$member" "$2"
    else bsdtar -x -f "$1" -C "$2" "$member"
    fi
}

if [ -f "$target" ]; then
    found=$(digest "$target")
    if [ "$found" = "$sha256" ]; then
        echo "$target: already there" >&2
        exit 0
    fi
    fail "$target: SHA-256 is $found, expected $sha256; move it away to download it again"
fi

has curl || has wget || fail "needs curl or wget"
has unzip || has python3 || has bsdtar || fail "needs unzip, python3 or bsdtar"

# In the same folder, so that the last step is a rename.
temporary=$(mktemp -d "$folder/wikitext.XXXXXX.tmp")
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' HUP INT TERM

for url in $urls; do
    echo "downloading $url" >&2
    rm -rf "$temporary"/*
    if ! download "$url" "$temporary/archive.zip"; then
        echo "fetch-wikitext: $url: download failed" >&2
    elif ! unpack "$temporary/archive.zip" "$temporary" 2>/dev/null; then
        echo "fetch-wikitext: $url: not an archive that holds $member" >&2
    else
        found=$(digest "$temporary/$member")
        if [ "$found" = "$sha256" ]; then
            chmod 644 "$temporary/$member"
            mv "$temporary/$member" "$target"
            echo "$target: done" >&2
            exit 0
        fi
        echo "fetch-wikitext: $url: wiki.test.raw has SHA-256 $found, expected $sha256" >&2
    fi
done
fail "nothing written"
