// Texts whose contrast to what is behind them is below 4.5 (WCAG 2.1, AA), with it.
() => {
  const parts = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (item) => { for (let at = item; at; at = at.parentElement) {
    const color = parts(getComputedStyle(at).backgroundColor); if (color.length === 3 || color[3] > 0) return color; } return [255, 255, 255]; };
  const found = [];
  for (const item of document.querySelectorAll("body *")) {
    if (![...item.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()) || item.offsetParent === null) continue;
    if (item.closest(":disabled, .unseen, svg")) continue;
    const [a, b] = [light(parts(getComputedStyle(item).color)), light(behind(item))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${item.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found; }
