/** HTML and SVG as text, with everything that comes from outside escaped. */

/** What is markup already; everything else is text. */
export class Markup {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

type Piece = string | number | Markup | readonly Markup[]

/** A tagged template: strings and numbers that are put in are escaped, markup is not. */
export function html(parts: TemplateStringsArray, ...pieces: readonly Piece[]): Markup {
  const text = parts.map((part, index) => {
    const piece = pieces[index]
    return piece === undefined ? part : part + markupOf(piece)
  })
  return new Markup(text.join(''))
}

export const NOTHING = new Markup('')

function markupOf(piece: Piece): string {
  if (piece instanceof Markup) return piece.text
  if (typeof piece === 'string' || typeof piece === 'number') return escaped(String(piece))
  return piece.map(({ text }) => text).join('\n')
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
