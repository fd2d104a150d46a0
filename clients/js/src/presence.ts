/** Presence: the members of a channel (docs/presence.md). */

import type { Client, Subscription } from "./client.js";
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
    return this._client._enter(this.channel, { meta, id });
  }

  leave(): Promise<unknown> {
    return this._client._enter(this.channel, undefined);
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
      const { action, leave, enter, update } = data;
      const one = { since: time, connections: 1, ...data };
      for (const { id } of leave ?? (action == "leave" ? [one] : [])) members.delete(id);
      for (const list of action == "diff" ? [enter, update] : action == "leave" ? [] : [[one]])
        for (const { id, since, connections, meta } of list)
          members.set(id, { id, since: members.get(id)?.since ?? since, connections, meta });
      callback(members);
    });
    changes.on("gap", () => void fill());
    return changes;
  }

  private async _list(): Promise<[Member[], string]> {
    const members: Member[] = [];
    let cursor = "";
    for (let after: string | null = null; ; ) {
      const url: string = this._client._http._url("presence", [this.channel], { limit: 1000, after });
      const page: Wire = await (await this._client._http._send(url)).json();
      members.push(...page.members);
      cursor ||= page.cursor;
      after = page.next;
      if (!after) return [members, cursor];
    }
  }
}
