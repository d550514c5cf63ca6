"""Endless training conversations from training/domain. Called by tokenizer.py, batches.py and evaluate.py."""

import json
import random
from dataclasses import dataclass, field

from training.domain import grammar
from training.domain.intents import FOLDER, Domain, fill_reply, read_domain
from training.llm.eight_ball import proverb_for
from training.llm.noise import Noise

EIGHT_BALL_SHARE = 0.2
KEYWORD_SHARE = 0.2
WEIGHTS = {
    "out_of_scope": 6.0,
    "statement": 3.0,
    "ball": 2.0,
    "cannot_act": 2.0,
    "greet": 1.5,
    "how_are_you": 1.5,
    "yes": 1.5,
    "no": 1.5,
    "joke": 1.5,
    "story": 1.5,
    "user_fine": 1.3,
    "who_are_you": 1.5,
    "what_can_you_do": 1.5,
}
FACTS = {
    "name": "othername",
    "color": "othercolor",
    "food": "otherfood",
    "animal": "otheranimal",
    "city": "othercity",
}
SERIES = ("joke", "story")


@dataclass(frozen=True)
class Message:
    """One chat message. `learned`: the model is trained to write it; `copied`: words with a higher weight."""

    role: str
    text: str
    learned: bool = False
    copied: tuple[str, ...] = ()


@dataclass
class Dialogue:
    """What has been said so far."""

    messages: list[Message] = field(default_factory=list)
    facts: dict[str, str | None] = field(default_factory=dict)
    last_reply: str = ""
    last_intent: str = ""
    told: dict[str, int] = field(default_factory=dict)
    unsaid: str = ""


class Corpus:
    """Draws conversations; the same seed gives the same ones."""

    def __init__(self, seed: int, domain: Domain | None = None) -> None:
        self.domain = domain or read_domain()
        self.rng = random.Random(seed)
        phrases = (FOLDER / "user_phrases.txt").read_text(encoding="utf-8").split("\n")
        self.noise = Noise(sorted({word for phrase in phrases for word in phrase.split()}), self.domain.slots)
        self._stop_words = frozenset(self.domain.slots["stop_word"])
        personas = json.loads((FOLDER / "personas.json").read_text(encoding="utf-8"))["personas"]
        self.prompts: dict[str, str] = {persona["name"]: persona["system_prompt"] for persona in personas}
        self._sequences = {
            name: [
                grammar.parse(grammar.fill_slots(pattern, self.domain.slots, keep=frozenset(FACTS)))
                for pattern in intent.patterns
            ]
            for name, intent in self.domain.intents.items()
        }
        self._plain = [
            name for name, intent in self.domain.intents.items() if intent.patterns and not intent.contextual
        ]
        self._plain_weights = [WEIGHTS.get(name, 1.0) for name in self._plain]

    def conversation(self) -> list[Message]:
        """One conversation, without a bound on its tokens (the caller cuts)."""
        return self._eight_ball() if self.rng.random() < EIGHT_BALL_SHARE else self._companion()

    def _exchange_count(self) -> int:
        """Mostly one to six; a few long ones, so that the model has met every position of its context."""
        return self.rng.randint(10, 16) if self.rng.random() < 0.03 else self.rng.randint(1, 6)

    def phrase(self, intent: str) -> tuple[str, tuple[str, str] | None]:
        """A clean phrase and its (slot, word), if it has one."""
        if self.domain.intents[intent].keywords and self.rng.random() < KEYWORD_SHARE:
            return self._around_keyword(intent), None
        sequence = self.rng.choice(self._sequences[intent])
        text, used = grammar.draw(sequence, self.rng), None
        for slot in FACTS:
            while "{" + slot + "}" in text:
                word = self.rng.choice(self.domain.slots[slot])
                text, used = text.replace("{" + slot + "}", word, 1), (slot, word)
        return text, used

    def _around_keyword(self, intent: str) -> str:
        """A keyword of the intent among up to six words that mean nothing, and now and then one that does."""
        words = self.rng.choices(self.domain.slots["glue"], k=self.rng.randint(0, 6))
        if self.rng.random() < 0.3:
            words.append(self.noise.random_word(self.rng))
        words.insert(self.rng.randint(0, len(words)), self.rng.choice(self.domain.intents[intent].keywords))
        return " ".join(words)

    def _heard(self, phrase: str, kept: str = "") -> str:
        if self.rng.random() < 0.15:
            return self.noise.typed(phrase, self.rng)
        spoken = self.noise.spoken(phrase, self.rng, frozenset(kept.split()))
        return self.noise.typed(spoken, self.rng) if self.rng.random() < 0.1 else spoken

    # --- magic 8-ball ---

    def _eight_ball(self) -> list[Message]:
        messages = [Message("system", self.prompts["magic-8-ball"])]
        for _ in range(self._exchange_count()):
            draw = self.rng.random()
            intent = (
                "ball"
                if draw < 0.5
                else "out_of_scope"
                if draw < 0.65
                else self.rng.choice(list(self._plain))
            )
            question = self.noise.garbage(self.rng) if draw > 0.97 else self._heard(self.phrase(intent)[0])
            proverb = proverb_for(question, self.domain.proverbs, self._stop_words)
            messages.append(Message("user", question))
            messages.append(self._reply_or_part(proverb))
        return messages

    def _reply_or_part(self, reply: str, copied: tuple[str, ...] = ()) -> Message:
        """The whole reply, or now and then one that the person cut short (kept as history, not learned)."""
        if self.rng.random() > 0.12 or " " not in reply:
            return Message("assistant", reply, learned=True, copied=copied)
        words = reply.split(" ")
        return Message(
            "assistant",
            " ".join(words[: self.rng.randrange(1, len(words))]) + self.rng.choice(("", "", "...", " -")),
        )

    # --- companion ---

    def _companion(self) -> list[Message]:
        dialogue = Dialogue()
        prompt = self._system_prompt()
        if prompt is not None:
            dialogue.messages.append(Message("system", prompt))
        if self.rng.random() < 0.06:
            dialogue.messages.append(Message("assistant", self._only_reply("greet"), learned=True))
        for _ in range(self._exchange_count()):
            self._exchange(dialogue)
        return dialogue.messages

    def _system_prompt(self) -> str | None:
        draw = self.rng.random()
        if draw < 0.62:
            return self.prompts["companion"]
        if draw < 0.78:
            return None if draw < 0.72 else ""
        who = self.rng.choice(
            (
                "a helpful assistant",
                "a friendly assistant",
                "a voice assistant",
                "a kind teacher",
                "Parley",
                "a chat program",
                "a polite helper",
                "a calm companion",
                "an assistant",
                "a wise old man",
            )
        )
        how = self.rng.choice(
            (
                "",
                " Be brief.",
                " Answer in one sentence.",
                " Answer kindly.",
                " Do not use lists.",
                " You speak with people.",
                " Keep your answers short.",
                " Help the user.",
                " Answer in English.",
            )
        )
        return (
            self.rng.choice(
                (f"You are {who}.", f"Act as {who}.", f"you are {who}", f"You are {who} for everyone.")
            )
            + how
        )

    def _exchange(self, dialogue: Dialogue) -> None:
        moves = {
            self._plain_exchange: 55.0,
            self._tell: 16.0,
            self._ask: 32.0 if dialogue.facts else 3.0,
            self._say_again: 6.0 if dialogue.last_reply else 1.0,
            self._more: 20.0 if dialogue.last_intent in SERIES else 1.0,
            self._go_on: 150.0 if dialogue.unsaid else 1.0,
            self._stray: 10.0,
            self._accept_offer: 20.0 if "joke or a story?" in dialogue.last_reply else 0.0,
        }
        self.rng.choices(list(moves), list(moves.values()))[0](dialogue)

    def _stray(self, dialogue: Dialogue) -> None:
        """Words that fit no intent: by their first words a question, a statement, or nothing at all."""
        garbage, draw = self.noise.garbage(self.rng), self.rng.random()
        if draw < 0.4:
            self._say(
                dialogue,
                f"{self.rng.choice(self.domain.slots['stray_question'])} {garbage}",
                "out_of_scope",
                self._only_reply("out_of_scope"),
            )
        elif draw < 0.65:
            self._say(
                dialogue,
                f"{self.rng.choice(self.domain.slots['stray_statement'])} {garbage}",
                "statement",
                self._only_reply("statement"),
            )
        else:
            self._say(dialogue, garbage, "unclear", self._only_reply("unclear"))

    def _accept_offer(self, dialogue: Dialogue) -> None:
        self._say(dialogue, self._heard(self.phrase("yes")[0]), "joke", self._next_of("joke", dialogue))

    def _only_reply(self, intent: str) -> str:
        return self.domain.intents[intent].replies[0]

    def _say(
        self, dialogue: Dialogue, user: str, intent: str, reply: str, copied: tuple[str, ...] = ()
    ) -> None:
        message = self._reply_or_part(reply, copied)
        dialogue.messages += [Message("user", user), message]
        dialogue.last_intent, dialogue.last_reply = intent, reply
        dialogue.unsaid = "" if message.learned else _from_cut_sentence(reply, message.text)

    def _next_of(self, series: str, dialogue: Dialogue) -> str:
        replies = self.domain.intents[series].replies
        index = (
            (dialogue.told[series] + 1) % len(replies)
            if series in dialogue.told
            else self.rng.randrange(len(replies))
        )
        dialogue.told[series] = index
        return replies[index]

    def _plain_exchange(self, dialogue: Dialogue) -> None:
        if dialogue.last_intent in ("greet", "how_are_you", "good_evening") and self.rng.random() < 0.4:
            intent = self.rng.choice(("user_fine", "user_fine", "sad", "happy", "tired", "stressed", "sick"))
        else:
            intent = self.rng.choices(self._plain, self._plain_weights)[0]
        phrase, slot = self.phrase(intent)
        if self.rng.random() < 0.1:
            lead = self.rng.choice(("greet", "thanks", "yes", "no", "hear_me", "compliment"))
            phrase = f"{self.phrase(lead)[0]} {phrase}"
        reply = (
            self._next_of(intent, dialogue)
            if intent in SERIES
            else self.rng.choice(self.domain.intents[intent].replies)
        )
        if slot and "{" + slot[0] + "}" in reply:
            self._say(dialogue, self._heard(phrase, slot[1]), intent, fill_reply(reply, *slot), (slot[1],))
        else:
            self._say(dialogue, self._heard(phrase), intent, reply)

    def _tell(self, dialogue: Dialogue) -> None:
        fact = self.rng.choice(("name", "name", "name", "color", "food", "animal", "city"))
        phrase, slot = self.phrase(f"{fact}_tell")
        assert slot is not None
        if fact == "name" and self.rng.random() < 0.2:
            phrase = f"{self.phrase('greet')[0]} {phrase}"
        if self.rng.random() < 0.2:
            word = self.rng.choice(self.domain.slots[FACTS[fact]])
            reply = self._only_reply("name_unknown" if fact == "name" else "unknown_taste")
            dialogue.facts[fact] = None
            self._say(dialogue, self._heard(phrase.replace(slot[1], word), word), "tell", reply)
        else:
            dialogue.facts[fact] = slot[1]
            reply = fill_reply(self._only_reply(f"{fact}_tell"), *slot)
            self._say(dialogue, self._heard(phrase, slot[1]), "tell", reply, (slot[1],))

    def _ask(self, dialogue: Dialogue) -> None:
        facts = list(dialogue.facts) if dialogue.facts and self.rng.random() < 0.8 else list(FACTS)
        fact = self.rng.choice(facts)
        word = dialogue.facts.get(fact)
        if word is None:
            reply = self._only_reply("name_not_told" if fact == "name" else "not_told")
            self._say(dialogue, self._heard(self.phrase(f"{fact}_ask")[0]), "ask", reply)
        else:
            reply = fill_reply(self._only_reply(f"{fact}_ask"), fact, word)
            self._say(dialogue, self._heard(self.phrase(f"{fact}_ask")[0]), "ask", reply, (word,))

    def _say_again(self, dialogue: Dialogue) -> None:
        reply = dialogue.last_reply or self._only_reply("nothing_said")
        self._say(dialogue, self._heard(self.phrase("say_again")[0]), dialogue.last_intent, reply)

    def _more(self, dialogue: Dialogue) -> None:
        known = dialogue.last_intent in SERIES
        reply = self._next_of(dialogue.last_intent, dialogue) if known else self._only_reply("more_of_what")
        self._say(
            dialogue,
            self._heard(self.phrase("more")[0]),
            dialogue.last_intent if known else "more_of_what",
            reply,
        )

    def _go_on(self, dialogue: Dialogue) -> None:
        reply = dialogue.unsaid or self._only_reply("that_was_all")
        self._say(dialogue, self._heard(self.phrase("go_on")[0]), dialogue.last_intent, reply)


def _from_cut_sentence(reply: str, spoken: str) -> str:
    """The part of a reply from the start of the sentence in which it was cut."""
    cut = len(spoken.removesuffix("...").removesuffix(" -"))
    start = max(
        (reply.rfind(mark, 0, cut) + 2 for mark in (". ", "? ", "! ") if mark in reply[:cut]), default=0
    )
    return reply[start:]
