// Who takes part in a job, who serves it, and what is demanded of whom.

import { h } from "./dom.js";
import { count } from "./format.js";
import { pager, table } from "./lists.js";
import { card, hash, money, nodeName, nothing, pill, time, unanswered } from "./parts.js";
import { to } from "./place.js";

export const PAGE = 20;

const LANES = { direct: "direct", signed: "signed", contract: "by contract" };

export function participantsCard(job, source, query) {
  const found = source.shown;
  if (!found) return card("Clients", unanswered(source, "the clients"), { id: "clients" });
  const secret = found.participants.some(({ epsilon }) => epsilon !== null);
  const columns = [
    {
      name: "Client",
      cell: (client) => [
        hash(client.address, "the client's address"),
        client.expelled && [" ", pill("expelled", "bad")],
        client.in_round && h("div", { class: "small muted" }, "update is in"),
      ],
    },
    { name: "Samples", right: true, cell: (client) => count(client.samples) },
    {
      name: "Rounds",
      right: true,
      cell: (client) => [
        count(client.rounds),
        client.excluded > 0 && h("div", { class: "small muted" }, `left out of ${count(client.excluded)}`),
      ],
    },
    found.participants.some(({ lanes }) => lanes !== null) && {
      name: "Came in",
      cell: (client) => lanes(client.lanes),
    },
    secret && {
      name: "ε spent",
      right: true,
      cell: (client) => (client.epsilon === null ? "" : `≥ ${Number(client.epsilon.toPrecision(4))}`),
    },
    {
      name: "Earned",
      right: true,
      cell: (client) => [
        money(client.earned),
        !nothing(client.claimable) && h("div", { class: "small muted" }, money(client.claimable), " to claim"),
      ],
    },
    found.participants.some(({ unsettled }) => !nothing(unsettled)) && {
      name: "Not settled",
      right: true,
      cell: (client) => (nothing(client.unsettled) ? "" : money(client.unsettled)),
    },
  ].filter(Boolean);
  const place = (from) => to(job.job, null, { ...query, clients: from === 0 ? null : from });
  const end = found.first + found.participants.length;
  const pages =
    found.total > PAGE &&
    pager("Pages of clients", `${count(found.first + 1)} to ${count(end)} of ${count(found.total)}`, [
      ["Earlier", found.first === 0 ? null : place(Math.max(0, found.first - PAGE))],
      ["Later", end >= found.total ? null : place(end)],
    ]);
  return card(
    "Clients",
    [
      table({
        caption: { text: "Clients, in the order of joining", unseen: true },
        columns,
        rows: found.participants,
        key: ({ address }) => address,
        nothing: "Nobody has joined yet.",
      }),
      pages,
    ],
    { id: "clients", aside: h("span", { class: "small muted" }, count(found.total)) },
  );
}

function lanes(found) {
  if (found === null) return h("span", { class: "muted" }, "not looked up");
  const parts = Object.entries(found).filter(([, times]) => times > 0);
  return parts.length === 0 ? "" : parts.map(([lane, times]) => `${count(times)} ${LANES[lane] ?? lane}`).join(", ");
}

export function serversCard(job, now) {
  if (job.servers.length === 0)
    return card("Server", h("p", { class: "nothing" }, "Nobody has put down a bond yet."), { id: "servers" });
  return card(
    job.servers.length === 1 ? "Server" : "Servers",
    job.servers.map((server) => [
      h(
        "p",
        { "data-key": server.address },
        hash(server.address, "the server's address"),
        " ",
        server.barred && pill("proved wrong, barred", "bad"),
        server.late && pill("late", "warn"),
        server.named && pill("named by the terms"),
      ),
      h(
        "dl",
        { class: "pairs" },
        pair("Bond", money(server.bond)),
        pair("Rounds", count(server.rounds)),
        pair("Earned", money(server.earned)),
        pair("Not settled", money(server.unsettled)),
        server.demands > 0 && pair("Demanded of it", count(server.demands)),
        server.free_from !== null &&
          !nothing(server.bond) &&
          pair("Bond is free", server.free_from <= now ? "now" : time(server.free_from, now)),
      ),
    ]),
    { id: "servers" },
  );
}

function pair(name, content) {
  return [h("dt", {}, name), h("dd", {}, content)];
}

export function demandsCard(job, now) {
  if (job.demands.length === 0)
    return card("Demands", h("p", { class: "nothing" }, "Nobody demands to see anything of a commit."), {
      id: "demands",
    });
  return card(
    "Demands",
    h(
      "ul",
      { class: "plain stack" },
      job.demands.map((demand) =>
        h(
          "li",
          { "data-key": `${demand.record}.${demand.node}.${demand.chunk}` },
          h("a", { href: to(job.job, demand.round, { attempt: demand.attempt }) }, `Round ${count(demand.round)}`),
          `: chunk ${count(demand.chunk)} of ${nodeName(demand.node)}`,
          h("div", { class: "small muted" }, "to be shown until ", time(demand.answer_by, now)),
          h(
            "div",
            { class: "small muted" },
            "demanded by ",
            hash(demand.demander, "the demander's address"),
            ", deposit ",
            money(demand.deposit),
          ),
        ),
      ),
    ),
    { id: "demands", aside: pill(count(job.demands.length), "warn") },
  );
}
