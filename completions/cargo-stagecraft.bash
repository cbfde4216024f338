# shellcheck shell=bash
# Completion of cargo-stagecraft, and of `cargo stagecraft`. In ~/.bashrc, after that of cargo if there is one:
#   source <(cargo-stagecraft completions bash)

# Completes the words from number $first on; $2 is the part of a word that bash is to replace.
_cargo_stagecraft_from() {
    local first=$1 typed=${2//[\"\'\\]/} i word line glue='' words=()
    # Bash takes words apart at `=` and `:`, and leaves the quotes.
    for ((i = first; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]//[\"\'\\]/}
        if [[ ${#words[@]} -gt 0 && ($glue || $word == [=:]*) ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        [[ $word == *[=:] ]] && glue=1 || glue=''
    done
    word=${words[${#words[@]} - 1]}
    COMPREPLY=()
    compopt +o default +o bashdefault 2>/dev/null
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default 2>/dev/null
        else
            line=${line%%$'\t'*}
            COMPREPLY+=("${line#"${word%"$typed"}"}")
        fi
    done < <(cargo-stagecraft complete -- "${words[@]}" 2>/dev/null)
}

_cargo_stagecraft() {
    _cargo_stagecraft_from 1 "$2"
}

_cargo_or_stagecraft() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        stagecraft)
            _cargo_stagecraft_from $((i + 1)) "$2"
            return
            ;;
        [-+]*) ;;
        *) break ;;
        esac
    done
    # The rest is for whoever else completes cargo; bash-completion loads it when it is asked for.
    if [[ -z ${_cargo_without_stagecraft-} ]] && declare -F _completion_loader >/dev/null; then
        _completion_loader cargo
        _cargo_stagecraft_hook
    fi
    if [[ -n ${_cargo_without_stagecraft-} ]]; then
        compopt +o default +o bashdefault 2>/dev/null
        "$_cargo_without_stagecraft" "$@"
    fi
}

# Stands before whoever completes cargo so far.
_cargo_stagecraft_hook() {
    if [[ $(complete -p cargo 2>/dev/null) =~ \ -F\ ([^ ]+) && ${BASH_REMATCH[1]} != _cargo_or_stagecraft ]]; then
        _cargo_without_stagecraft=${BASH_REMATCH[1]}
    fi
    complete -o bashdefault -o default -F _cargo_or_stagecraft cargo
}

complete -F _cargo_stagecraft cargo-stagecraft
_cargo_stagecraft_hook
