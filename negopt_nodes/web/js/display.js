/** Draws what the server reports of a negative prompt: its text, whose each term is, and what went wrong. */

import { text } from "./texts.js"

/** All negatives as text, one a line. */
export function textOf(entries) {
  return entries.map((entry) => entry.text).join("\n")
}

/** Replaces what `box` shows by the entries, in order. */
export function drawEntries(box, entries) {
  box.replaceChildren(...entries.map((entry, number) => drawEntry(entry, entries.length > 1 ? number + 1 : 0)))
}

/** Replaces what `box` shows by one line; `kind` is "hint" or "failure". */
export function drawNotice(box, notice, kind = "hint") {
  box.replaceChildren(element("div", `negopt-${kind}`, notice))
}

function drawEntry(entry, number) {
  const block = element("div", "negopt-entry")
  if (number) block.append(element("span", "negopt-number", `${number}`))
  block.append(...entry.spans.map(drawSpan))
  if (!entry.spans.length) block.append(element("span", "negopt-hint", text("empty")))
  if (entry.conflicting?.length) block.append(drawLeftOut(text("conflicting"), entry.conflicting))
  if (entry.repeated?.length) block.append(drawLeftOut(text("repeated"), entry.repeated))
  if (entry.failure) block.append(element("div", "negopt-failure", text("onlyOwn") + entry.failure))
  return block
}

function drawSpan(span) {
  const drawn = element("span", span.origin ? `negopt-${span.origin}` : "", span.text)
  if (span.origin) drawn.title = text(span.origin)
  if (span.probability) drawn.title += `, ${text("probability")} ${(100 * span.probability).toFixed(1)}%`
  return drawn
}

function drawLeftOut(why, terms) {
  const line = element("div", "negopt-hint", `${why} `)
  line.append(element("s", "", terms.join(", ")))
  return line
}

function element(name, className, content = "") {
  const made = document.createElement(name)
  made.className = className
  made.textContent = content
  return made
}
