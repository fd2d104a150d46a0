/** One connection for all tabs. */

import type { Carrier } from "./client.js";
import type { Engine } from "./engine.js";
import type { Http } from "./http.js";

export const share = async (http: Http, engine: () => Engine, emit: (type: string, detail: object) => void): Promise<Carrier> => engine();
