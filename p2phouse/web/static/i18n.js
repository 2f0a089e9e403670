// The page's words in English and French. A value in {braces} is filled in; what a number needs is
// chosen by Intl.PluralRules from "one | other".
const WORDS = {
  skip: ["Skip to content", "Aller au contenu"],
  hallway: ["Hallway", "Couloir"],
  sound: ["Sound", "Son"],
  language: ["Language", "Langue"],
  navigation: ["Places", "Lieux"],

  comeIn: ["Come in.", "Entrez."],
  lead: ["Live voice rooms, person to person. No account, no company in the middle.",
    "Des salons vocaux, de personne à personne. Sans compte, sans entreprise au milieu."],
  name: ["Name people see", "Nom affiché"],
  fromKey: ["This face and the words {tag} are drawn from your key. They stay when you change your name.",
    "Ce visage et les mots {tag} viennent de votre clé. Ils restent si vous changez de nom."],
  yourMicrophone: ["Your microphone", "Votre micro"],
  testMic: ["Test my mic", "Tester mon micro"],
  hearYourself: ["Hear yourself", "S’écouter"],
  again: ["Again", "Refaire"],
  threeSeconds: ["Three seconds, played back to you. Nothing leaves this device.",
    "Trois secondes, rejouées pour vous. Rien ne quitte cet appareil."],
  testing: ["Say a few words…", "Dites quelques mots…"],
  well: ["We hear you well", "On vous entend bien"],
  quiet: ["A little quiet", "Un peu faible"],
  loud: ["Too loud", "Trop fort"],
  noSound: ["No sound yet", "Aucun son"],
  enter: ["Enter the hallway", "Entrer dans le couloir"],
  listenOnly: ["Skip: I’ll only listen for now", "Passer : j’écoute seulement"],
  micRefused: ["Your browser gives this page no microphone. Allow it beside the address, then try again.",
    "Votre navigateur ne donne pas de micro à cette page. Autorisez-le près de l’adresse, puis réessayez."],
  micMissing: ["No microphone was found. Plug one in, then try again.",
    "Aucun micro trouvé. Branchez-en un, puis réessayez."],
  micLost: ["Your microphone was unplugged, or another program took it. You are muted.",
    "Votre micro a été débranché, ou pris par un autre programme. Il est coupé."],
  changes: ["Changes are heard at once.", "Les changements s’entendent aussitôt."],
  otherMouth: ["This node speaks with its own sound device, not with this page.",
    "Ce nœud parle avec son propre appareil audio, pas avec cette page."],

  joinByLink: ["Join by link", "J’ai un lien"],
  openRoom: ["Open a room", "Ouvrir un salon"],
  onNetwork: ["On this network", "Sur ce réseau"],
  liveFor: ["Live for {time}", "En direct depuis {time}"],
  liveHere: ["Live for {time} · this network only", "En direct depuis {time} · ce réseau seulement"],
  host: ["opened by {tag}", "ouvert par {tag}"],
  people: ["{n} person | {n} people", "{n} personne | {n} personnes"],
  staysHere: ["Stays here", "Reste ici"],
  youAreIn: ["You are in it", "Vous y êtes"],
  streetQuiet: ["The street is quiet. Yours can be the first light.",
    "La rue est calme. Soyez la première lumière."],
  appears: ["Rooms opened on this Wi‑Fi appear here within two seconds. Open one, or send a friend the link to yours.",
    "Les salons ouverts sur ce Wi‑Fi s’affichent ici en deux secondes. Ouvrez le vôtre, ou envoyez son lien."],
  about: ["What is it about?", "De quoi parle-t-on ?"],
  whoCanCome: ["Who can come?", "Qui peut venir ?"],
  anyone: ["Anyone with the link", "Toute personne avec le lien"],
  anyoneSaid: ["Listed for nodes that meet yours.", "Visible pour les nœuds qui croisent le vôtre."],
  networkOnly: ["This network only", "Ce réseau seulement"],
  networkSaid: ["Neither the room nor its voices leave it.", "Ni le salon ni les voix n’en sortent."],
  openMuted: ["Open it, muted", "Ouvrir, micro coupé"],
  linkLabel: ["Link, room id or HOST:PORT", "Lien, numéro du salon ou HÔTE:PORT"],
  joinMuted: ["Join, muted", "Entrer, micro coupé"],
  cancel: ["Cancel", "Annuler"],
  close: ["Close", "Fermer"],
  speakingBar: ["{name} is speaking · {mic}", "{name} parle · {mic}"],
  youMuted: ["you are muted", "votre micro est coupé"],
  youLive: ["you’re live", "votre micro est ouvert"],
  leave: ["Leave quietly", "Partir sans bruit"],
  back: ["Return", "Revenir"],

  share: ["Share", "Partager"],
  shareTitle: ["Invite with this link", "Invitez avec ce lien"],
  shareSaid: ["Whoever has it can come in, from a page like this one (Join by link) or with p2phouse join.",
    "Qui l’a peut entrer, d’une page comme celle-ci (J’ai un lien) ou avec p2phouse join."],
  shareNone: ["Your node has no address yet, so there is no link. It appears with a network.",
    "Votre nœud n’a pas encore d’adresse, donc pas de lien. Il viendra avec un réseau."],
  copy: ["Copy the link", "Copier le lien"],
  copied: ["Copied", "Copié"],
  open: ["Open: anyone with the link can listen", "Ouvert : avec le lien, chacun peut écouter"],
  openShort: ["Open", "Ouvert"],
  openSaid: ["Open room: whoever carries it could listen too. Voices are signed, not secret.",
    "Salon ouvert : qui le porte peut aussi écouter. Les voix sont signées, pas secrètes."],
  lan: ["This network only", "Ce réseau seulement"],
  lanShort: ["Stays here", "Reste ici"],
  lanSaid: ["This room has not left this network.", "Ce salon n’a pas quitté ce réseau."],
  direct: ["Direct between all {n}", "En direct entre les {n}"],
  directShort: ["Direct", "Direct"],
  directSaid: ["Voices go straight from person to person. People here can see your network address.",
    "Les voix vont droit de personne à personne. Les personnes ici voient votre adresse réseau."],
  recorded: ["Not recorded here", "Pas d’enregistrement ici"],
  recordedShort: ["Not recorded", "Sans enreg."],
  recordedSaid: ["p2phouse records nothing here. Someone present still could.",
    "p2phouse n’enregistre rien ici. Une personne présente le pourrait."],
  stage: ["In the room", "Dans le salon"],
  you: ["You", "Vous"],
  speaking: ["speaking", "parle"],
  muted: ["muted", "micro coupé"],
  connecting: ["connecting…", "se connecte…"],
  reconnecting: ["reconnecting…", "se reconnecte…"],
  micMuted: ["Muted", "Micro coupé"],
  micLive: ["You’re live", "Micro ouvert"],
  micTalking: ["Talking", "Vous parlez"],
  micOpening: ["Opening…", "Ouverture…"],
  micName: ["Microphone, {state}", "Micro, {state}"],
  stateMuted: ["muted", "coupé"],
  stateLive: ["live", "ouvert"],
  keys: ["{m} mutes · while muted, hold {space} to talk", "{m} coupe le micro · micro coupé, maintenez {space} pour parler"],
  space: ["Space", "Espace"],
  arrived: ["You are in, muted.", "Vous y êtes, micro coupé."],
  nobodyHears: ["Nobody hears you until you unmute.", "Personne ne vous entend tant qu’il est coupé."],
  alone: ["Only you are here so far. Share the link, or wait for somebody on this network.",
    "Personne d’autre pour l’instant. Partagez le lien, ou attendez quelqu’un sur ce réseau."],
  seeAddress: ["People here can see your network address.", "Les personnes ici voient votre adresse réseau."],
  gotIt: ["Got it", "Compris"],
  heldBack: ["Your browser is holding the sound back.", "Votre navigateur retient le son."],
  letMeHear: ["Let me hear", "Écouter"],
  noWay: ["Your microphone did not open.", "Votre micro ne s’est pas ouvert."],
  came: ["{name} came in", "{name} arrive"],
  somebody: ["Somebody", "Quelqu’un"],
  srOpen: ["Your microphone is open", "Votre micro est ouvert"],
  srOff: ["Your microphone is off", "Votre micro est coupé"],

  lost: ["The page lost your node. Looking for it again…", "La page a perdu votre nœud. On le cherche…"],
  lostSaid: ["Your microphone is off until then.", "Votre micro est coupé jusque-là."],
  over: ["Your node has ended.", "Votre nœud s’est arrêté."],
  overSaid: ["Start it again in a terminal: p2phouse up. A page of its own opens then.",
    "Relancez-le dans un terminal : p2phouse up. Il ouvrira une nouvelle page."],
  tryAgain: ["Try again", "Réessayer"],
  noKey: ["This page has no key to your node.", "Cette page n’a pas la clé de votre nœud."],
  noKeySaid: ["Open it from a terminal: p2phouse page.", "Ouvrez-la depuis un terminal : p2phouse page."],
  elsewhere: ["Sound moved to another page of yours.", "Le son est passé à une autre de vos pages."],
  soundHere: ["Sound here", "Le son ici"],
  soundLost: ["The way to your sound broke. It is tried again…", "Le chemin du son est coupé. On réessaie…"],
};

const LANGUAGES = ["en", "fr"];
let at = 0;

export const names = {en: "English", fr: "Français"};

export function language() { return LANGUAGES[at]; }

export function speak(code) {
  at = Math.max(0, LANGUAGES.indexOf(code));
  document.documentElement.lang = language();
}

// The person's own choice, else the browser's first language that we have.
export function start() {
  const wanted = [localStorage.getItem("language"), ...navigator.languages].filter(Boolean);
  speak(wanted.map((each) => each.slice(0, 2)).find((each) => LANGUAGES.includes(each)) ?? "en");
}

export function t(key, values = {}) {
  let text = WORDS[key][at];
  if (text.includes(" | ")) {
    const [one, other] = text.split(" | ");
    text = new Intl.PluralRules(language()).select(values.n) === "one" ? one : other;
  }
  text = text.replace(/\{(\w+)\}/g, (_, name) => (
    typeof values[name] === "number" ? new Intl.NumberFormat(language()).format(values[name]) : values[name]));
  return at === 1 ? text.replace(/ ([:;!?»])/g, "\u00a0$1").replace(/« /g, "«\u00a0") : text;
}

// A sentence with values that are elements, as a list to render.
export function parts(key, values) {
  return t(key, Object.fromEntries(Object.keys(values).map((name) => [name, `\u0000${name}\u0000`])))
    .split("\u0000").map((piece, index) => (index % 2 ? values[piece] : piece));
}

export function ago(seconds) {
  const [value, unit] = seconds < 60 ? [seconds, "second"] : seconds < 3_600
    ? [Math.floor(seconds / 60), "minute"] : [Math.floor(seconds / 3_600), "hour"];
  return new Intl.NumberFormat(language(), {style: "unit", unit, unitDisplay: "short"}).format(value);
}
