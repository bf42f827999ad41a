// The commands that with_gateway gives, for the checks.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import type { Stored, World } from "./check.ts";

export const expected: World["expected"] = JSON.parse(readFileSync(process.env["EXPECTED"]!, "utf8"));

export async function post(what: string | object): Promise<Stored> {
  const sample = typeof what === "string";
  const answer = promisify(execFile)("post", [sample ? `${process.env["SAMPLES"]}/${what}.json` : "-"]);
  answer.child.stdin?.end(sample ? "" : JSON.stringify(what));
  return JSON.parse((await answer).stdout);
}

export async function cut() {
  await promisify(execFile)("cut_off");
}
