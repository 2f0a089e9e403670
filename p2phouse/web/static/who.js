// What the node's facts say of the people in a room, and of what one may do there.
//
// A node tells what it knows; a fact that is not there changes nothing and shows nothing.

export const you = (room) => room.members.find((each) => each.you);
export const named = (member) => member.name || member.key_tag;
export const may = (thing, verb) => Boolean(thing?.may?.includes(verb));
export const isMutedByOther = (member) => member.role === "muted";
export const byHand = (one, other) => (one.hand?.place ?? 999) - (other.hand?.place ?? 999);

// Who says nothing of a stage has everybody on it.
export const onStage = (member) => member.on_stage ?? member.role !== "listener";

// May come up by themselves: invited, or stepped down from a place that is still theirs.
export const mayComeUp = (member) => !onStage(member) && (member.invited || member.role === "speaker");

const RANKS = {creator: 0, host: 0, moderator: 1};
export const rank = (member) => RANKS[member.level] ?? 2;
export const seat = (member) => ["host", "moderator"][rank(member)] ?? null;
export const runsRoom = (room) => rank({level: room.level}) < 2;

export const stageOf = (room) => room.members.filter(onStage).sort((one, other) => rank(one) - rank(other));

// Hands first, in their order; then oneself and whom one follows; then the rest as they came.
const isNear = (member) => Number(Boolean(member.you || member.followed));
export const audienceOf = (room) => room.members.filter((each) => !onStage(each)).sort((one, other) =>
  byHand(one, other) || isNear(other) - isNear(one));

export const handsOf = (room) => room.members.filter((each) => each.hand).sort(byHand);

export function tagged(room, tag) {
  const found = room.members.find((each) => each.key_tag === tag);
  return found ? named(found) : tag;
}

// How the room is kept: from whom it is hidden, and its icon.
export function keeping(room, rooms) {
  const access = room.access ?? rooms?.find((each) => each.room === room.room)?.access ?? "open";
  const sealed = room.sealed ?? ["closed", "social"].includes(access);
  return {access, sealed, icon: sealed ? "lock" : access === "lan" ? "house" : "lock-open",
    words: sealed ? "sealed" : access === "lan" ? "lan" : "open"};
}
