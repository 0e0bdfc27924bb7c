#!/bin/sh
# Starts sdgui. The first start installs it for this user, with uv, from the wheel in this package.
# SDGUI_EXTRAS=train selects other extras than demo, SDGUI_EXTRAS= only the window; a later start can change it.
# UV_TORCH_BACKEND=cpu selects another build of PyTorch than that for this computer's GPU.
set -eu
version="@VERSION@"
command="$(basename "$0")"
wheel="/usr/share/sdgui/sdgui-$version-py3-none-any.whl"
extras="${SDGUI_EXTRAS-demo}"
home="${XDG_DATA_HOME:-$HOME/.local/share}/sdgui/program/$version"

say() {
    echo "sdgui: $1" >&2
    if [ ! -t 2 ] && command -v notify-send >/dev/null 2>&1; then notify-send -i sdgui sdgui "$1" || true; fi
}

if [ ! -e "$home/installed" ] || [ "$(cat "$home/installed")" != "${SDGUI_EXTRAS-$(cat "$home/installed")}" ]; then
    uv="$(command -v uv || true)"
    if [ -z "$uv" ] && [ -x "$HOME/.local/bin/uv" ]; then uv="$HOME/.local/bin/uv"; fi
    if [ -z "$uv" ]; then
        say "uv is needed to install the program; get it with: curl -LsSf https://astral.sh/uv/install.sh | sh"
        exit 1
    fi
    say "installing the program${extras:+ with $extras} in $home (takes minutes, only once)"
    "$uv" venv --clear --quiet --python ">=3.11" "$home"
    "$uv" pip install --quiet --python "$home/bin/python" --torch-backend="${UV_TORCH_BACKEND:-auto}" \
        "sdgui${extras:+[$extras]} @ file://$wheel"
    echo "$extras" >"$home/installed"
fi
exec "$home/bin/$command" "$@"
