/**
 * What each shell is told. The scripts know nothing of commands: they ask the program itself at each Tab, so that a script
 * of last year completes the options of today.
 *
 * The program answers with one candidate a line, a tab and its description, and a last line that begins with a colon.
 */

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

export const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `# sealgate completion for bash
_sealgate() {
  local current=\${COMP_WORDS[COMP_CWORD]} add= line
  [[ $current == '=' ]] && current=
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :*) add=$line ;;
      *) COMPREPLY+=("\${line%%$'\\t'*}") ;;
    esac
  done < <("\${COMP_WORDS[0]/#\\~/$HOME}" complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  case $add in
    :files | :folders)
      compopt -o filenames 2>/dev/null
      local how=-f
      [[ $add == :folders ]] && how=-d
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen $how -- "$current")
      ;;
  esac
}
complete -F _sealgate sealgate
`,
  zsh: `#compdef sealgate
# sealgate completion for zsh
_sealgate() {
  local add= line
  local -a lines candidates
  lines=("\${(@f)$("\${words[1]/#\\~/$HOME}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in $lines; do
    case $line in
      :*) add=$line ;;
      *) candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}") ;;
    esac
  done
  (( $#candidates )) && _describe -V sealgate candidates
  case $add in
    :files) _files ;;
    :folders) _files -/ ;;
  esac
}
if [[ $funcstack[1] == _sealgate ]]; then _sealgate "$@"; else compdef _sealgate sealgate; fi
`,
  fish: `# sealgate completion for fish
function __sealgate_complete
  set -l words (commandline --tokenize --current-process --cut-at-cursor)
  set -l current (commandline --current-token)
  for line in (command $words[1] complete -- $words[2..-1] "$current" 2>/dev/null)
    switch $line
      case ':files'
        __fish_complete_path "$current"
      case ':folders'
        __fish_complete_directories "$current"
      case ':*'
      case '*'
        echo $line
    end
  end
end
complete --command sealgate --no-files --arguments '(__sealgate_complete)'
`,
}
