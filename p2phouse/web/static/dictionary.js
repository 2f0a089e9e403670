// All words of the owner's page.
import {WORDS as PLACES} from "/words.js";
import {ROOM_WORDS} from "/words-room.js";
import {CARRY_WORDS} from "/words-carry.js";
import {DOCTOR_WORDS} from "/words-doctor.js";
import {PEOPLE_WORDS} from "/words-people.js";
import {RELAY_WORDS} from "/words-relays.js";

export const WORDS = {...PLACES, ...ROOM_WORDS, ...PEOPLE_WORDS, ...CARRY_WORDS, ...DOCTOR_WORDS, ...RELAY_WORDS};
