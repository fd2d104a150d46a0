import { describe, expect, test } from "vitest";
import { PushdError, decode, inPath, intersects, isAfter, isTemporary, oldest } from "../src/wire.js";

test.each([
  ["a", "a", true],
  ["a", "b", false],
  ["a", "a/b", false],
  ["a/*", "a/b", true],
  ["a/*", "a/b/c", false],
  ["a/**", "a/b/c", true],
  ["a/**", "a", false],
  ["a/*/c", "a/**", true],
  ["a/*", "*/b", true],
  ["*", "$presence", false],
  ["**", "$presence/a", false],
  ["$presence/*", "$presence/a", true],
])("%s and %s have a channel in common: %s", (a, b, expected) => {
  expect(intersects(a, b)).toBe(expected);
  expect(intersects(b, a)).toBe(expected);
});

test.each([
  ["e-2", "e-1", true],
  ["e-10", "e-9", true],
  ["e-1", "e-1", false],
  ["e-1", "e-2", false],
  ["f-1", "e-2", true],
  ["a-b-3", "a-b-2", true],
  ["e-1", undefined, true],
])("%s is after %s: %s", (id, cursor, expected) => expect(isAfter(id, cursor)).toBe(expected));

describe("the oldest cursor", () => {
  test("is the smallest of one epoch", () => expect(oldest(["e-5", "e-3", "e-9"], "e-9")).toBe("e-3"));
  test("is one of an epoch that is over", () => {
    expect(oldest(["e-5", "old-7", "e-9"], "e-9")).toBe("old-7");
    expect(oldest(["old-7", "e-5"], "e-9")).toBe("old-7");
  });
  test("needs no message", () => expect(oldest(["e-5", "e-3"])).toBe("e-3"));
});

test("topics are encoded for an address, and patterns stay readable", () => {
  expect(inPath(["a b/ü", "x/**"])).toBe("a%20b/%C3%BC,x/**");
});

test("binary data is decoded", () => {
  expect(decode({ data_base64: "AP8=" }).data).toEqual(new Uint8Array([0, 255]));
  expect(decode({ data: { a: 1 } }).data).toEqual({ a: 1 });
});

test.each([
  ["overloaded", true],
  ["unavailable", true],
  ["storage", true],
  ["too-many-connections", true],
  ["rate-limited", true],
  ["http-502", true],
  ["too-many-topics", false],
  ["forbidden", false],
  ["bad-topic", false],
  ["outcome-unknown", false],
  ["no-responders", false],
  ["http-404", false],
])("%s is temporary: %s", (code, expected) => expect(isTemporary(new PushdError(code, ""))).toBe(expected));

test("a fault of the network is temporary", () => expect(isTemporary(new TypeError("failed"))).toBe(true));
