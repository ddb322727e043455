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
    after(nodeType, "onNodeCreated", addWidgets)
    after(nodeType, "onExecuted", showResult)
    after(nodeType, "onConnectionsChange", forgetLinked)
    after(nodeType, "getExtraMenuOptions", addCopyOption)
  }
})

/** Calls `more` with the node as its `this` after a method of its own, whose answer it keeps. */
function after(nodeType, method, more) {
  const own = nodeType.prototype[method]
  nodeType.prototype[method] = function (...args) {
    const answer = own?.apply(this, args)
    more.apply(this, args)
    return answer
  }
}

/** The button and the box under the node's own widgets. Neither is saved with the workflow nor sent with a prompt. */
function addWidgets() {
  const write = this.addWidget("button", "Write", null, () => writeNegative(this), { serialize: false })
  write.serialize = false
  write.tooltip = text("writeTip")

  const box = document.createElement("div")
  box.className = "negopt-box"
  drawNotice(box, text("hint"))
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
