// The arithmetic of a calculator: reads the description that `hepacast.bundle.calculator.calculator_of` writes of a
// bundle's model, and knows nothing of pages.

const LOGARITHMS = { "": (x) => x, ln: Math.log, log2: Math.log2, log10: Math.log10, log10p1: (x) => Math.log10(1 + x) };

/** Why a text or number cannot be a value: `kind` is a message (`calculator.error.KIND`). */
export class ValueRefused extends Error {
  constructor(kind, parts = {}) {
    super(kind);
    this.kind = kind;
    this.parts = parts;
  }
}

/** A number as it is typed, with a decimal point or comma; `1,234` can be read in two ways and is refused. */
export function readNumber(text) {
  const plain = text.trim().replace(/\u2212/g, "-");
  if (/^[+-]?[1-9]\d{0,2},\d{3}$/.test(plain)) throw new ValueRefused("ambiguous");
  if (!/^[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?$/i.test(plain)) throw new ValueRefused("number");
  return Number(plain.replace(",", "."));
}

/** A value in the model's own unit and possible there; null stays null: nobody knows it. */
export function checkedValue(predictor, value, unit) {
  if (value === null || predictor.kind === "levels") return value;
  const units = predictor.units.length ? predictor.units : [{ unit: predictor.unit, factor: 1 }];
  const found = unit === undefined ? units[0] : units.find((item) => item.unit === unit);
  if (!found) throw new ValueRefused("unit");
  const own = value * found.factor;
  const possible = predictor.possible;
  if (possible && !(own >= possible[0] && own <= possible[1])) {
    throw new ValueRefused("possible", { low: possible[0] / found.factor, high: possible[1] / found.factor, unit: found.unit });
  }
  if (!Number.isFinite(LOGARITHMS[predictor.log](own))) throw new ValueRefused("logarithm");
  return own;
}

/** The predictor's number on the model's scale (or its level), and what is unusual about it. */
function standing(predictor, value) {
  const missing = value === null || value === undefined || Number.isNaN(value);
  if (predictor.kind === "levels") {
    if (missing) return [predictor.fill, "unknown"];
    const level = predictor.levels.find((item) => item.value === value);
    return level && level.known ? [value, ""] : [predictor.fill, "strange"];
  }
  if (missing) return [predictor.fill, "unknown"];
  const usual = predictor.usual;
  let mark = value < predictor.low || value > predictor.high ? "outside" : "";
  if (!mark && usual && (value < usual[0] || value > usual[1])) mark = "rare";
  return [LOGARITHMS[predictor.log](value), mark];
}

const expit = (x) => 1 / (1 + Math.exp(-x));
const clipped = (x) => Math.max(-500, Math.min(500, x));
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const quadratic = (matrix, x) => matrix.reduce((sum, row, i) => sum + x[i] * dot(row, x), 0);

/**
 * Points, linear predictor and risks of one patient.
 *
 * `values` holds, by predictor, a number in the model's own unit, a level, or null where nobody knows it. Limits are null
 * where the model has none, and where a value is not known.
 */
export function evaluate(description, values) {
  const marks = {}, read = {};
  for (const predictor of description.predictors) {
    [read[predictor.name], marks[predictor.name]] = standing(predictor, values[predictor.name]);
  }
  const design = description.terms.map((term) =>
    term.level === null ? read[term.predictor] : Number(read[term.predictor] === term.level));
  const added = {};
  for (const predictor of description.predictors) added[predictor.name] = 0;
  description.terms.forEach((term, i) => { added[term.predictor] += term.coefficient * design[i]; });
  const lp = description.intercept + dot(description.terms.map((term) => term.coefficient), design);
  const points = {};
  const { scale, minimum } = description.points;
  for (const name of Object.keys(added)) points[name] = (added[name] - minimum[name]) * scale;
  const gap = Object.values(marks).some((mark) => mark === "unknown" || mark === "strange");
  const risks = description.risks.map((risk) => {
    const limits = gap || !description.covariance ? null : limitsOf(description, risk, design, lp);
    return { time: risk.time, unit: risk.unit, risk: riskOf(risk, lp), low: limits && limits[0], high: limits && limits[1] };
  });
  const total = Object.values(points).reduce((sum, value) => sum + value, 0);
  const main = risks[risks.length - 1].risk;
  const group = description.cutoff === null ? "none" : main >= description.cutoff ? "high" : "low";
  return { linearPredictor: lp, points, total, risks, group, marks };
}

function riskOf(risk, lp) {
  return risk.link === "logit" ? expit(lp) : -Math.expm1(-risk.hazard * Math.exp(clipped(lp)));
}

function limitsOf(description, risk, design, lp) {
  const half = description.half_width;
  if (risk.link === "logit") {
    const spread = half * Math.sqrt(Math.max(quadratic(description.covariance, [1, ...design]), 0));
    return [expit(lp - spread), expit(lp + spread)];
  }
  if (!(risk.hazard > 0) || risk.variance === null) return null;
  const inner = description.covariance.slice(1).map((row) => row.slice(1));
  const leverage = description.terms.map((term, i) => (design[i] - term.mean) * risk.hazard - risk.integral[i]);
  const spread = (half * Math.sqrt(risk.variance + quadratic(inner, leverage))) / risk.hazard;
  const center = Math.log(risk.hazard) + clipped(lp);
  return [-1, 1].map((sign) => -Math.expm1(-Math.exp(Math.min(center + sign * spread, 700))));
}

/** Linear predictor at which a risk is reached. */
export function predictorAt(risk, probability) {
  if (risk.link === "logit") return Math.log(probability / (1 - probability));
  return Math.log(-Math.log1p(-probability) / risk.hazard);
}

const INVERSES = { "": (x) => x, ln: Math.exp, log2: (x) => 2 ** x, log10: (x) => 10 ** x, log10p1: (x) => 10 ** x - 1 };

/** A number on the model's scale, where sliders move, and back. */
export const scaled = (predictor, value) => LOGARITHMS[predictor.log](value);
export const unscaled = (predictor, value) => INVERSES[predictor.log](value);

/** A risk as percent; one that is not 0 or 1 is not rounded to it. */
export function percent(risk) {
  const shown = `${(100 * risk).toFixed(1)}%`;
  if (shown === "0.0%" && risk > 0) return "<0.1%";
  return shown === "100.0%" && risk < 1 ? ">99.9%" : shown;
}
