# Completion of cargo-stagecraft, and of `cargo stagecraft`. In rc.elv, after that of cargo if there is one:
#   eval (cargo-stagecraft completions elvish | slurp)

use str

# What can stand at the end of these words, which come after the program's name.
fn cargo-stagecraft-candidates {|words|
  var lines = []
  try {
    set lines = [(e:cargo-stagecraft complete -- $@words 2>/dev/null | from-lines)]
  } catch { }
  for line $lines {
    if (eq $line :files) {
      edit:complete-filename $@words
    } else {
      var value @help = (str:split "\t" $line)
      edit:complex-candidate $value &display=(str:join '  ' [$value $@help])
    }
  }
}

var cargo-without-stagecraft = {|@words| edit:complete-filename $@words }
if (has-key $edit:completion:arg-completer cargo) {
  set cargo-without-stagecraft = $edit:completion:arg-completer[cargo]
}

set edit:completion:arg-completer[cargo-stagecraft] = {|program @words|
  cargo-stagecraft-candidates $words
}

set edit:completion:arg-completer[cargo] = {|@words|
  if (and (> (count $words) 2) (eq $words[1] stagecraft)) {
    cargo-stagecraft-candidates $words[2..]
  } else {
    $cargo-without-stagecraft $@words
  }
}
