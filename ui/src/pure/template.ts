// A line's template as the server gives it, `link <*> went down`, in pieces for drawing.
export interface Piece { gap: boolean; text: string }

export function pieces(template: string): Piece[] {
  return template.split(/(<\*>)/).filter((text) => text !== '').map((text) => ({ gap: text === '<*>', text }))
}
