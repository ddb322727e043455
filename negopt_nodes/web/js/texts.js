/** What the page says, in the language that ComfyUI is set to; what comes from the server is said in English. */
import { app } from "../../../scripts/app.js"

const TEXTS = {
  en: {
    hint: "The negative prompt shows here after a run, or press Write.",
    writeTip: "Write the negative prompt now, without running the graph.",
    writing: "Writing…",
    unknown: "Run the graph once; only then is it known what comes in through: ",
    notWritten: "Not written: ",
    empty: "(empty)",
    keep: "your own",
    prompt: "your prompt asks for it",
    model: "written by NegOpt",
    probability: "probability",
    conflicting: "left out, in your prompt or in avoid:",
    repeated: "left out, repeated:",
    onlyOwn: "Only your own terms: ",
    copied: "Negative prompt copied"
  },
  zh: {
    hint: "运行后这里会显示负面提示词，也可以直接点击 Write。",
    writeTip: "不运行工作流，立即写出负面提示词。",
    writing: "正在写……",
    unknown: "请先运行一次工作流，之后才能知道这些输入的内容：",
    notWritten: "未能写出：",
    empty: "（空）",
    keep: "你自己的词条",
    prompt: "你的提示词要求排除",
    model: "由 NegOpt 写出",
    probability: "概率",
    conflicting: "已去掉，提示词需要或在“回避”中：",
    repeated: "已去掉，重复：",
    onlyOwn: "只用了你自己的词条：",
    copied: "已复制负面提示词"
  },
  "zh-TW": {
    hint: "執行後這裡會顯示負向提示詞，也可以直接點擊 Write。",
    writeTip: "不執行工作流程，立即寫出負向提示詞。",
    writing: "正在寫……",
    unknown: "請先執行一次工作流程，之後才能知道這些輸入的內容：",
    notWritten: "未能寫出：",
    empty: "（空）",
    keep: "你自己的詞條",
    prompt: "你的提示詞要求排除",
    model: "由 NegOpt 寫出",
    probability: "機率",
    conflicting: "已去掉，提示詞需要或在「迴避」中：",
    repeated: "已去掉，重複：",
    onlyOwn: "只用了你自己的詞條：",
    copied: "已複製負向提示詞"
  }
}

/** The text called `name`. */
export function text(name) {
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en"
  return (TEXTS[language] ?? TEXTS.en)[name]
}
