# Completion of cargo-stagecraft, and of `cargo stagecraft`. In $PROFILE, before that of cargo if there is one:
#   cargo-stagecraft completions powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName 'cargo-stagecraft', 'cargo' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $before = $commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition }
    $words = @($before | ForEach-Object { "$_".Trim('"', "'") })
    $program, $words = $words
    $words = @($words)
    if ([IO.Path]::GetFileNameWithoutExtension($program) -eq 'cargo') {
        if ($words.Count -eq 0 -or $words[0] -ne 'stagecraft') { return }
    }
    foreach ($line in @(cargo-stagecraft complete '--' @words "$wordToComplete" 2>$null)) {
        if ($line -eq ':files') {
            [System.Management.Automation.CompletionCompleters]::CompleteFilename($wordToComplete)
        } else {
            $value, $help = $line -split "`t", 2
            if (-not $help) { $help = $value }
            [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
        }
    }
}
