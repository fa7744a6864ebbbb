"""Scripts with which a shell completes the words of `sc`. Pure: made from tables, they ask `sc` for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SHELLS = ("bash", "zsh")


class Option(NamedTuple):
    """An option of a command."""

    names: Sequence[str]
    gist: str
    takes_value: bool
    choices: Sequence[str] = ()


class Spelling(NamedTuple):
    """A command, as far as its words can be completed."""

    name: str
    gist: str
    options: Sequence[Option]
    choices: Sequence[str] = ()
    """Of its first word, where these are known; other words are files."""


def script(shell: str, commands: Sequence[Spelling]) -> str:
    """The text for one of SHELLS."""
    return _bash(commands) if shell == "bash" else _zsh(commands)


def _bash(commands: Sequence[Spelling]) -> str:
    cases = "\n".join(_bash_case(command) for command in commands)
    names = " ".join(command.name for command in commands)
    return f"""# Completion of sc for bash. For good: sc completion bash > ~/.local/share/bash-completion/completions/sc
# For this shell only: eval "$(sc completion bash)"
_sc() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    local options= values= choices=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{names} --help --version" -- "$word"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}
    help) choices="{names}" ;;
    *) return ;;
    esac
    case " $values " in
    *" $before "*) ;;
    *)
        if [ "${{word#-}}" != "$word" ]; then
            COMPREPLY=($(compgen -W "$options" -- "$word"))
            return
        fi
        if [ -n "$choices" ]; then
            COMPREPLY=($(compgen -W "$choices" -- "$word"))
            return
        fi
        ;;
    esac
    compopt -o filenames 2>/dev/null
    local IFS=$'\\n'
    COMPREPLY=($(compgen -f -- "$word"))
}}
complete -F _sc sc sc.pyz ./sc.pyz
"""


def _bash_case(command: Spelling) -> str:
    options = " ".join(name for option in command.options for name in option.names)
    values = " ".join(
        name for option in command.options if option.takes_value for name in option.names
    )
    choices = " ".join(command.choices)
    return f'    {command.name}) options="{options}"; values="{values}"; choices="{choices}" ;;'


def _zsh(commands: Sequence[Spelling]) -> str:
    words = "\n".join(f"        {_quoted(f'{one.name}:{one.gist}')}" for one in commands)
    cases = "\n".join(_zsh_case(command) for command in commands)
    return f"""#compdef sc sc.pyz
# Completion of sc for zsh. For good: sc completion zsh > a folder of your $fpath, as the file _sc
# For this shell only, after compinit: eval "$(sc completion zsh)"
_sc() {{
    local -a words_of_sc
    words_of_sc=(
{words}
    )
    if (( CURRENT == 2 )); then
        _describe 'command' words_of_sc
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{cases}
    help) _describe 'command' words_of_sc ;;
    *) _files ;;
    esac
}}
if [ "$funcstack[1]" = "_sc" ]; then
    _sc "$@"
else
    compdef _sc sc sc.pyz
fi
"""


def _zsh_case(command: Spelling) -> str:
    lines = []
    for option in command.options:
        value = ""
        if option.takes_value:
            value = f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
        lines += [_quoted(f"*{name}[{_bare(option.gist)}]{value}") for name in option.names]
    rest = f"*:word:({' '.join(command.choices)})" if command.choices else "*:file:_files"
    joined = " \\\n            ".join([*lines, _quoted(rest)])
    return f"    {command.name}) _arguments -s \\\n            {joined} ;;"


def _bare(gist: str) -> str:
    """Without the characters that `_arguments` takes for its own."""
    return gist.translate(str.maketrans("[]:\\", "();/"))


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
