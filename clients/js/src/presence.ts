/** Presence: the members of a channel (docs/presence.md). */

import type { Client, Subscription } from "./client.js";
import type { Entry } from "./engine.js";
import type { Wire } from "./wire.js";

export interface Member {
  id: string;
  since: number;
  connections: number;
  meta: any;
}

export class Presence {
  constructor(
    readonly channel: string,
    private readonly _client: Client,
  ) {}

  /** Enter the channel, or change `meta`; again after each reconnect. `id` is the subject of the token by default. */
  enter(meta?: unknown, { id }: { id?: string } = {}): Promise<unknown> {
    return this._enter({ meta, id });
  }

  leave(): Promise<unknown> {
    return this._enter();
  }

  /** Return all members. */
  async members(): Promise<Member[]> {
    return (await this._list())[0];
  }

  /** Call a function with the members by id, now and after each change; return the subscription to the changes. */
  async follow(callback: (members: Map<string, Member>) => void): Promise<Subscription> {
    const members = new Map<string, Member>();
    const fill = async () => {
      const [list, cursor] = await this._list();
      members.clear();
      for (const member of list) members.set(member.id, member);
      callback(members);
      return cursor;
    };
    const since = await fill();
    const changes = this._client.subscribe<Wire>(`$presence/${this.channel}`, { since }, ({ data, time }) => {
      const one = { since: time, connections: 1, ...data };
      const { enter = [], update = [], leave = [] }: Wire = data.action == "diff" ? data : { [data.action]: [one] };
      for (const { id } of leave) members.delete(id);
      for (const member of [...enter, ...update]) members.set(member.id, member);
      callback(members);
    });
    changes.on("gap", () => void fill().catch((error) => this._client._emit("error", { error })));
    return changes;
  }

  private async _enter(entry?: Entry): Promise<unknown> {
    await this._client._ready;
    return this._client._carrier!._enter(this.channel, entry);
  }

  private async _list(): Promise<[Member[], string]> {
    const http = this._client._http;
    const members: Member[] = [];
    let cursor = "";
    let after: string | undefined;
    do {
      const page: Wire = await (await http._send("presence/", [this.channel], { limit: 1000, after })).json();
      members.push(...page.members);
      cursor ||= page.cursor;
      after = page.next;
    } while (after);
    return [members, cursor];
  }
}
