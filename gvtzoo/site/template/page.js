// Filters, comparison of input and prediction, and copying. The page is readable without any of it.
"use strict";

const models = [...document.querySelectorAll(".cards > li")];

document.documentElement.classList.add("with-script");
prepareFilters(document.getElementById("filters"));
document.querySelectorAll(".comparison").forEach(prepareComparison);
document.querySelectorAll("[data-copy]").forEach(prepareCopy);

function prepareFilters(form) {
  form.hidden = false;
  form.addEventListener("input", () => showFitting(form));
  form.addEventListener("change", () => showFitting(form));
  form.addEventListener("submit", (event) => event.preventDefault());
  // A form fires this before its fields are empty.
  form.addEventListener("reset", () => setTimeout(() => showFitting(form)));
  showFitting(form);
}

function showFitting(form) {
  const words = form.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const choices = [...form.querySelectorAll("[data-filter]")].filter((choice) => choice.value);
  for (const model of models) {
    const { dataset } = model;
    model.hidden = !(
      words.every((word) => dataset.text.includes(word)) &&
      choices.every((choice) => dataset[choice.dataset.filter] === choice.value)
    );
  }
  for (const list of document.querySelectorAll(".cards")) {
    list.hidden = [...list.children].every((model) => model.hidden);
  }
  const shown = models.filter((model) => !model.hidden).length;
  document.getElementById("count").textContent = `${shown} of ${models.length} models`;
  document.getElementById("nothing").hidden = shown > 0;
}

function prepareComparison(comparison) {
  const split = comparison.querySelector(".split");
  const show = () => {
    comparison.style.setProperty("--split", `${split.value}%`);
    split.setAttribute("aria-valuetext", `${split.value} % input, ${100 - split.value} % prediction`);
  };
  split.hidden = false;
  split.addEventListener("input", show);
  show();
}

function prepareCopy(button) {
  const command = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    const copied = await copy(command.textContent);
    if (!copied) getSelection().selectAllChildren(command);
    announce(copied ? "Copied" : "Selected: press Ctrl+C or ⌘C to copy");
    button.textContent = copied ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers may keep the clipboard from pages that were opened as files.
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused.focus({ preventScroll: true });
  return copied;
}

function announce(text) {
  const place = document.getElementById("announcement");
  place.textContent = "";
  // The same words twice are read twice only if they were gone in between.
  setTimeout(() => (place.textContent = text), 50);
}
