# Completion of cargo-stagecraft, and of `cargo stagecraft`. As a file in ~/.config/fish/conf.d, or in config.fish:
#   cargo-stagecraft completions fish | source

function __cargo_stagecraft_complete
    set -l before (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l program (contains --index stagecraft $before; or echo 1)
    for line in (cargo-stagecraft complete -- $before[(math $program + 1)..] "$current" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end

# Whether the first word after `cargo` that is no option is ours.
function __cargo_stagecraft_is_meant
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l words (string match --invert --regex '^[-+]' -- $words[2..])
    test "$words[1]" = stagecraft
end

complete --command cargo-stagecraft --keep-order --no-files --arguments '(__cargo_stagecraft_complete)'
complete --command cargo --condition __cargo_stagecraft_is_meant \
    --keep-order --no-files --arguments '(__cargo_stagecraft_complete)'
