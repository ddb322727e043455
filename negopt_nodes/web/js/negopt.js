/**
 * NegOpt on ComfyUI's page: each writing node shows the negative it used, and has a "Write" button that fills it in
 * without running the graph. What is drawn comes from the server (negopt_nodes/report.py).
 */
import { app } from "../../../scripts/app.js"
import { api } from "../../../scripts/api.js"
import { drawEntries, drawNotice, textOf } from "./display.js"
import { forgetInput, readInputs } from "./inputs.js"
import { text } from "./texts.js"

/** The writing nodes, and how large each is at first. */
const DEFAULT_SIZE = { NegOpt: [420, 640], NegOptAlternatives: [440, 860], NegOptMerge: [420, 640] }

/**
 * The inputs that a bypassed node hands on, each in the place of its output: where the places do not agree, the page
 * hands on the first text that it finds, and that would be the prompt as the negative.
 */
const HANDED_ON = { NegOpt: ["prompt", "keep"], NegOptAlternatives: ["prompt", "keep"], NegOptMerge: ["negative"] }

/** What LiteGraph calls the side of a node where links come in. */
const INPUTS = 1

const HEIGHT_OF_ONE = 90
const HEIGHT_OF_FURTHER = 70
const MOST_HEIGHT = 300

loadStyle()

app.registerExtension({
  name: "negopt",

  beforeRegisterNodeDef(nodeType, nodeDef) {
    if (!(nodeDef.name in DEFAULT_SIZE)) return
    after(nodeType, "onNodeCreated", placeInputs)
    after(nodeType, "onNodeCreated", addWidgets)
    after(nodeType, "onExecuted", showResult)
    after(nodeType, "onConnectionsChange", forgetLinked)
    after(nodeType, "getExtraMenuOptions", addCopyOption)
  },

  // The page makes all nodes anew after an undo, and when it goes back to a workflow, whose outputs come later.
  afterConfigureGraph: () => showLastRun(app.nodeOutputs),
  onNodeOutputsUpdated: showLastRun
})

/** Gives the nodes back what the page remembers of their last run: the output of each by its place. */
function showLastRun(outputs) {
  for (const [place, output] of Object.entries(outputs ?? {})) {
    const node = nodeAt(place)
    if (node?.negoptBox) showResult.call(node, output)
  }
}

/** The node at "id"; in a subgraph at "subgraph's id:id", or by the ids of the nodes that lead there. */
function nodeAt(place) {
  const [id, ...above] = place.split(":").reverse()
  const root = app.rootGraph ?? app.graph
  const within = (graph, part) => root.subgraphs?.get(part) ?? graph?.getNodeById(part)?.subgraph
  const graph = above.reverse().reduce(within, root)
  return graph?.getNodeById(id)
}

/** Calls `more` with the node as its `this` after a method of its own, whose answer it keeps. */
function after(nodeType, method, more) {
  const own = nodeType.prototype[method]
  nodeType.prototype[method] = function (...args) {
    const answer = own?.apply(this, args)
    more.apply(this, args)
    return answer
  }
}

/** Before any link is made; saved workflows find their links by the inputs' names. */
function placeInputs() {
  const first = HANDED_ON[this.comfyClass]
  const place = (input) => (first.includes(input.name) ? first.indexOf(input.name) : first.length)
  this.inputs.sort((one, other) => place(one) - place(other))
}

/** The button and the box under the node's own widgets. Neither is saved with the workflow nor sent with a prompt. */
function addWidgets() {
  const write = this.addWidget("button", "Write", null, () => writeNegative(this), { serialize: false })
  write.serialize = false
  write.tooltip = text("writeTip")

  const box = document.createElement("div")
  box.className = "negopt-box"
  drawNotice(box, text("hint"))
  letThrough(box)
  const shown = this.addDOMWidget("negopt_shown", "negopt", box, {
    serialize: false,
    hideInPanel: true, // newer pages would take the one element out of the node into their side panel
    getMinHeight: () => leastHeight(this.negoptEntries?.length ?? 1),
    getValue: () => textOf(this.negoptEntries ?? [])
  })
  shown.serialize = false
  this.negoptBox = box
  const [width, height] = DEFAULT_SIZE[this.comfyClass]
  this.setSize([Math.max(this.size[0], width), Math.max(this.size[1], height)])
}

/** Over the box, too, the wheel zooms and the middle button moves the canvas, as over the page's own text boxes. */
function letThrough(box) {
  const forward = (event, method) => {
    if (!LiteGraph.vueNodesMode) app.canvas[method](event) // Vue nodes see to it themselves
  }
  box.addEventListener("pointerdown", (event) => event.button === 1 && forward(event, "processMouseDown"))
  box.addEventListener("pointermove", (event) => event.buttons & 4 && forward(event, "processMouseMove"))
  box.addEventListener("pointerup", (event) => event.button === 1 && forward(event, "processMouseUp"))
  box.addEventListener("wheel", (event) => {
    if (box.scrollHeight > box.clientHeight && !event.ctrlKey) return
    event.preventDefault()
    forward(event, "processMouseWheel")
  })
}

function leastHeight(entries) {
  return Math.min(MOST_HEIGHT, HEIGHT_OF_ONE + HEIGHT_OF_FURTHER * (entries - 1))
}

/** After a run: the server's entries for this node, and what its linked inputs were. */
function showResult(output) {
  if (!output?.negopt) return
  this.negoptRunInputs = { ...output.negopt[0]?.inputs }
  show(this, output.negopt)
}

/** A link was made or cut. */
function forgetLinked(side, slot) {
  if (side === INPUTS && this.inputs?.[slot]) forgetInput(this, this.inputs[slot].name)
}

function show(node, entries) {
  node.negoptEntries = entries
  drawEntries(node.negoptBox, entries)
  node.setDirtyCanvas?.(true, true)
}

async function writeNegative(node) {
  const { values, unknown } = readInputs(node)
  if (unknown.length) {
    drawNotice(node.negoptBox, text("unknown") + unknown.join(", "), "failure")
    return
  }
  drawNotice(node.negoptBox, text("writing"))
  try {
    const response = await api.fetchApi("/negopt/write", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(values)
    })
    const answer = await response.json()
    if (answer.error) throw new Error(answer.error)
    show(node, answer.entries)
  } catch (error) {
    drawNotice(node.negoptBox, text("notWritten") + error.message, "failure")
  }
}

function addCopyOption(_canvas, options) {
  if (!this.negoptEntries?.length) return
  // The page itself translates it, by locales/*/main.json.
  options.unshift({ content: "Copy negative prompt", callback: () => copy(textOf(this.negoptEntries)) })
}

async function copy(negative) {
  try {
    await navigator.clipboard.writeText(negative)
  } catch {
    copyBySelection(negative) // browsers keep the clipboard from pages served over plain http
  }
  app.extensionManager?.toast?.add({ severity: "success", summary: text("copied"), life: 2000 })
}

function copyBySelection(negative) {
  const area = document.createElement("textarea")
  area.value = negative
  document.body.append(area)
  area.select()
  document.execCommand("copy")
  area.remove()
}

function loadStyle() {
  const link = document.createElement("link")
  link.rel = "stylesheet"
  link.href = new URL("../negopt.css", import.meta.url).href
  document.head.append(link)
}
