// Every screen, in the order of the navigation; one file each in screens/ with `name`, `render(body, context)`, and
// `study: true` where it belongs to one study.

import start from "./screens/start.js";
import settings from "./screens/settings.js";

export const screens = [start, settings];
