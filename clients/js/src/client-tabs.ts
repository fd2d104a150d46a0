/** One connection for all tabs. */

import type { Carrier } from "./client.js";
import type { Engine } from "./engine.js";

export const share = async (engine: Engine): Promise<Carrier> => engine;
