import { expect, test, vi } from "vitest";
import { Http, type TokenSource } from "../src/http.js";

const answer = (status: number) => new Response("{}", { status });

test.each<[string, (token: string) => ReturnType<Exclude<TokenSource, string>>]>([
  ["a promise", async (token) => token],
  ["a string", (token) => token],
])("a token that was forgotten is asked for again: %s", async (_, make) => {
  let count = 0;
  const http = new Http("http://push.test", { token: () => make(`token${++count}`) });
  expect([await http._getToken(), await http._getToken()]).toEqual(["token1", "token1"]);
  http._forget("token1");
  expect(await Promise.all([http._getToken(), http._getToken()])).toEqual(["token2", "token2"]);
  expect(await http._getToken()).toBe("token2");
});

test("a source that throws at once is asked again", async () => {
  let count = 0;
  const token = () => {
    if (!count++) throw new Error("not yet");
    return "token";
  };
  const http = new Http("http://push.test", { token });
  await expect(http._getToken()).rejects.toThrow("not yet");
  expect(await http._getToken()).toBe("token");
});

test("a refused token is replaced, and the request repeated once", async () => {
  const sent: string[] = [];
  vi.stubGlobal("fetch", async (_: string, { headers }: { headers: Record<string, string> }) => {
    sent.push(headers.authorization!);
    return answer(sent.length == 2 ? 401 : 200);
  });
  let count = 0;
  const http = new Http("http://push.test", { token: async () => `token${++count}` });
  await http._send("a");
  await http._send("b");
  expect(sent).toEqual(["Bearer token1", "Bearer token1", "Bearer token2"]);
  vi.unstubAllGlobals();
});
