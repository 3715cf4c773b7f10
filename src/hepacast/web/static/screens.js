// Every screen, in the order of the navigation; one file each in screens/ with `name`, `render(body, context)`, and
// `study: true` where it belongs to one study, `owner: true` where only an owner may look.

import start from "./screens/start.js";
import patient from "./screens/patient.js";
import statistics from "./screens/statistics.js";
import node from "./screens/node.js";
import settings from "./screens/settings.js";
import cohort from "./screens/cohort.js";
import run from "./screens/run.js";
import masks from "./screens/masks.js";
import report from "./screens/report.js";

export const screens = [
  start,
  patient,
  statistics,
  node,
  settings,
  cohort,
  run,
  masks,
  report,
];
