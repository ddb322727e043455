/** Draws what the server reports of a negative prompt: its text, whose each term is, and what went wrong. */

const WHO = {
  keep: "your own",
  prompt: "your prompt asks for it",
  model: "written by NegOpt"
}

/** All negatives as text, one a line. */
export function textOf(entries) {
  return entries.map((entry) => entry.text).join("\n")
}

/** Replaces what `box` shows by the entries, in order. */
export function drawEntries(box, entries) {
  box.replaceChildren(...entries.map((entry, number) => drawEntry(entry, entries.length > 1 ? number + 1 : 0)))
}

/** Replaces what `box` shows by one line; `kind` is "hint" or "failure". */
export function drawNotice(box, text, kind = "hint") {
  box.replaceChildren(element("div", `negopt-${kind}`, text))
}

function drawEntry(entry, number) {
  const block = element("div", "negopt-entry")
  if (number) block.append(element("span", "negopt-number", `${number}`))
  block.append(...entry.spans.map(drawSpan))
  if (!entry.spans.length) block.append(element("span", "negopt-hint", "(empty)"))
  if (entry.conflicting?.length) block.append(drawLeftOut("left out, your prompt asks for it:", entry.conflicting))
  if (entry.repeated?.length) block.append(drawLeftOut("left out, repeated:", entry.repeated))
  if (entry.failure) block.append(element("div", "negopt-failure", `Only your own terms: ${entry.failure}`))
  return block
}

function drawSpan(span) {
  const drawn = element("span", span.origin ? `negopt-${span.origin}` : "", span.text)
  if (span.origin) drawn.title = WHO[span.origin]
  if (span.probability) drawn.title += `, probability ${(100 * span.probability).toFixed(1)}%`
  return drawn
}

function drawLeftOut(why, terms) {
  const line = element("div", "negopt-hint", `${why} `)
  line.append(element("s", "", terms.join(", ")))
  return line
}

function element(name, className, text = "") {
  const made = document.createElement(name)
  made.className = className
  made.textContent = text
  return made
}
