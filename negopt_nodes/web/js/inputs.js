/** What a writing node would be given if the graph ran now, as far as the page can know it. */

const NEGATIVES = ["negative", "negative_2"]
const NOT_SENT = ["clip"]
/** Modes of a node that is muted or bypassed. */
const PASSED_OVER = [2, 4]
/** The node's names for what the server calls otherwise. */
const NAMES = { variation: "seed", negopt_model: "model" }

/**
 * The request for a node: `values` for the server, and in `unknown` the names of linked inputs whose value only a run
 * can tell. A linked input takes the value of the text box at the other end, else the one of the last run
 * (`negoptRunInputs`).
 */
export function readInputs(node) {
  const values = {}
  const unknown = []
  for (const widget of node.widgets ?? []) {
    if (widget.serialize !== false && !linkOf(node, widget.name)) values[NAMES[widget.name] ?? widget.name] = widget.value
  }
  for (const input of node.inputs ?? []) {
    if (!linkOf(node, input.name) || NOT_SENT.includes(input.name)) continue
    const name = NAMES[input.name] ?? input.name
    const value = valueBehind(node, input.name) ?? node.negoptRunInputs?.[name]
    if (value === undefined) unknown.push(input.name)
    else values[name] = value
  }
  return { values: withNegatives(values), unknown }
}

/** The merging node's texts go to the server as one list. */
function withNegatives(values) {
  if (!NEGATIVES.some((name) => name in values)) return values
  const rest = Object.entries(values).filter(([name]) => !NEGATIVES.includes(name))
  return { ...Object.fromEntries(rest), negatives: NEGATIVES.map((name) => values[name] ?? "") }
}

function linkOf(node, name) {
  return node.inputs?.find((input) => input.name === name)?.link ?? null
}

/** What a run knew of an input that is linked anew is no longer so. */
export function forgetInput(node, name) {
  delete node.negoptRunInputs?.[NAMES[name] ?? name]
}

/**
 * The value of the only widget of the node that an input is linked to, if that is what such a node hands on: one that
 * runs, and whose widget is not linked itself.
 */
function valueBehind(node, name) {
  const origin = node.getInputNode?.(node.inputs.findIndex((input) => input.name === name))
  if (!/^Primitive|^NegOptLoadModel$/.test(origin?.type ?? "") || PASSED_OVER.includes(origin.mode)) return undefined
  const widget = origin.widgets?.find((one) => one.serialize !== false && typeof one.value !== "object")
  return widget && linkOf(origin, widget.name) === null ? widget.value : undefined
}
