"""The sample tables beside this file, put together from the phrases below: `python examples/make_samples.py`.

Nobody stayed at this hotel, and there is no such farm. The phrases were written for Regard, so that its pages have data to
show that belong to nobody; they are far easier than real texts, and a figure reached on them says nothing about a model.
"""

import csv
import random
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
N_TRAIN, N_TEST = 400, 100
N_PARALLEL, N_PARALLEL_TEST = 600, 100

Phrases = dict[str, dict[str, list[str]]]
"""topic -> feeling -> phrases."""

ENGLISH: Phrases = {
    "room": {
        "positive": [
            "the room was bright and very clean",
            "we slept wonderfully in the wide bed",
            "fresh towels waited for us every day",
            "the room was quiet even at noon",
            "from the balcony we saw the whole bay",
        ],
        "negative": [
            "the room smelled of old smoke",
            "the bed creaked and sagged in the middle",
            "there was hair in the shower",
            "the walls were so thin that we heard every word next door",
            "the heating did not work",
        ],
    },
    "food": {
        "positive": [
            "breakfast was rich and fresh",
            "the soup alone is worth the journey",
            "the bread came warm from the oven",
            "dinner tasted like at home, only better",
            "the coffee was excellent",
        ],
        "negative": [
            "breakfast was cold and tasteless",
            "the fish was not fresh",
            "the coffee tasted of dishwater",
            "we waited an hour for a burnt steak",
            "there was nothing left to eat after nine",
        ],
    },
    "service": {
        "positive": [
            "the people at the desk helped with everything",
            "the staff remembered our names",
            "the porter carried our bags with a smile",
            "a late check-out was no trouble at all",
            "they found my lost phone and sent it after me",
        ],
        "negative": [
            "the man at the desk was rude",
            "nobody answered when we called",
            "they lost our booking and blamed us",
            "the staff only shrugged at our complaint",
            "check-in took forty minutes",
        ],
    },
    "price": {
        "positive": [
            "for this price you will find nothing better",
            "it cost less than we had feared",
            "parking and internet were free of charge",
            "a fair bill without surprises",
            "great value for a family",
        ],
        "negative": [
            "far too expensive for what you get",
            "they charged us twice for parking",
            "the bill was full of hidden fees",
            "even the water had to be paid for",
            "a complete waste of money",
        ],
    },
    "place": {
        "positive": [
            "the station is two minutes away on foot",
            "the beach begins at the door",
            "a peaceful street in the heart of the old town",
            "shops and museums are all close by",
            "the view of the mountains is splendid",
        ],
        "negative": [
            "it lies beside a noisy motorway",
            "the last bus leaves at seven, and taxis do not come",
            "the promised sea view was a car park",
            "a dark street where we did not feel safe",
            "building work next door began at six in the morning",
        ],
    },
}

CHINESE: Phrases = {
    "房间": {
        "positive": [
            "房间明亮又干净",
            "床很大，睡得特别香",
            "毛巾每天都换新的",
            "隔音很好，晚上很安静",
            "从阳台能看到整个海湾",
        ],
        "negative": [
            "房间里一股烟味",
            "床垫塌了，翻个身就响",
            "浴室地上还有头发",
            "墙太薄，隔壁说话听得一清二楚",
            "暖气根本不热",
        ],
    },
    "餐饮": {
        "positive": ["早餐丰盛又新鲜", "光是那碗汤就值得专程来", "面包刚出炉，还是热的", "晚饭有家里的味道", "咖啡非常好喝"],
        "negative": [
            "早餐又冷又没味道",
            "鱼不新鲜",
            "咖啡像刷锅水",
            "等了一个小时，牛排还是糊的",
            "九点以后什么吃的都没有了",
        ],
    },
    "服务": {
        "positive": [
            "前台有求必应，很热情",
            "服务员还记得我们的名字",
            "行李员笑着帮我们把箱子搬上楼",
            "说要晚点退房，他们一口就答应了",
            "手机落在房间，他们给我寄了回来",
        ],
        "negative": ["前台态度很差", "打了几次电话都没人接", "订单弄丢了还怪我们", "投诉了也没人理", "办入住排了四十分钟队"],
    },
    "价格": {
        "positive": [
            "这个价位找不到更好的了",
            "比想象的便宜",
            "停车和上网都不收钱",
            "账单清清楚楚，没有乱收费",
            "一家人住很划算",
        ],
        "negative": [
            "太贵了，完全不值",
            "停车费收了我们两次",
            "账单里一堆莫名其妙的费用",
            "连喝水都要另外付钱",
            "纯粹浪费钱",
        ],
    },
    "位置": {
        "positive": ["走两分钟就到车站", "出门就是沙滩", "在老城中心，街道却很清静", "商店和博物馆都在附近", "山景美极了"],
        "negative": [
            "旁边就是高速公路，吵得很",
            "末班车七点就没了，也打不到车",
            "说好的海景其实是停车场",
            "街上黑漆漆的，走着害怕",
            "隔壁工地早上六点就开工",
        ],
    },
}

QUESTIONS = {
    "room": ["How was the room?", "Did you sleep well?", "What was your room like?"],
    "food": ["How was the food?", "Did you like the kitchen?", "What was there to eat?"],
    "service": ["How was the service?", "Was the staff helpful?", "How were you treated?"],
    "price": ["How was the price?", "Was it worth the money?", "What did it cost?"],
    "place": ["How was the location?", "Is it in a good place?", "Where does it lie?"],
}


FARM: dict[str, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("small", "old", "red", "tired"),
        ("child", "horse", "sheep", "girl", "calf"),
        ("sleeps", "plays", "waits", "sits"),
        ("in the garden", "in the house", "in the yard", "in the forest", "in the barn"),
        ("today", "often", "alone"),
    ),
    "de": (
        ("kleine", "alte", "rote", "müde"),
        ("Kind", "Pferd", "Schaf", "Mädchen", "Kalb"),
        ("schläft", "spielt", "wartet", "sitzt"),
        ("im Garten", "im Haus", "im Hof", "im Wald", "im Stall"),
        ("heute", "oft", "allein"),
    ),
    "zh": (
        ("小", "老", "红色的", "疲倦的"),
        ("孩子", "马", "绵羊", "女孩", "牛犊"),
        ("睡觉", "玩耍", "等待", "坐着"),
        ("在花园里", "在房子里", "在院子里", "在森林里", "在谷仓里"),
        ("今天", "常常", "独自"),
    ),
}
"""Language -> how something is, what it is, what it does, where, and when or how; in the same order in each."""

SENTENCES = {
    "en": "the {0} {1} {2} {4} {3} .",
    "de": "das {0} {1} {2} {4} {3} .",
    "zh": "{0}{1}{4}{3}{2}。",
}


def parallel(language: str, *, draw: random.Random) -> list[str]:
    """All sentences that there are of the farm, shuffled; with an equal `draw` in the same order for each language."""
    sentences = [SENTENCES[language].format(*words) for words in product(*FARM[language])]
    draw.shuffle(sentences)
    return sentences


def reviews(phrases: Phrases, *, stop: str, draw: random.Random) -> list[tuple[str, str, str]]:
    """Every phrase, and every two phrases of one feeling: (review, sentiment, topics), shuffled. stop: ends a sentence."""
    rows = []
    for feeling in ("positive", "negative"):
        said = [(topic, sentence(phrase, stop)) for topic, by_feeling in phrases.items() for phrase in by_feeling[feeling]]
        rows += [(text.strip(), feeling, topic) for topic, text in said]
        rows += [
            ((one + two).strip(), feeling, f"{topic}|{other}")
            for (topic, one), (other, two) in product(said, said)
            if topic != other
        ]
    draw.shuffle(rows)
    return rows


def pairs(phrases: Phrases, *, draw: random.Random) -> list[tuple[str, str, str]]:
    """(question, answer, whether the answer is about what was asked), as many of each, shuffled."""
    rows = []
    for topic, by_feeling in phrases.items():
        elsewhere = [question for other, questions in QUESTIONS.items() if other != topic for question in questions]
        for phrase in (*by_feeling["positive"], *by_feeling["negative"]):
            answer = sentence(phrase, ".")
            rows += [(question, answer, "yes") for question in QUESTIONS[topic]]
            rows += [(question, answer, "no") for question in draw.sample(elsewhere, len(QUESTIONS[topic]))]
    draw.shuffle(rows)
    return rows


def sentence(text: str, stop: str) -> str:
    return text[0].upper() + text[1:] + stop


def write(name: str, header: tuple[str, ...], rows: list[tuple[str, str, str]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    columns = ("review", "sentiment", "topics")
    for name, phrases, stop in (("reviews", ENGLISH, ". "), ("reviews-zh", CHINESE, "。")):
        rows = reviews(phrases, stop=stop, draw=random.Random(0))
        write(f"{name}.csv", columns, rows[:N_TRAIN])
        write(f"{name}-test.csv", columns, rows[N_TRAIN : N_TRAIN + N_TEST])
    write("answers.csv", ("question", "answer", "fits"), pairs(ENGLISH, draw=random.Random(0)))
    for language in FARM:
        lines = [f"{sentence}\n" for sentence in parallel(language, draw=random.Random(0))]
        for name, part in (("farm", lines[:N_PARALLEL]), ("farm-test", lines[N_PARALLEL : N_PARALLEL + N_PARALLEL_TEST])):
            (HERE / f"{name}.{language}").write_text("".join(part), encoding="utf-8")


if __name__ == "__main__":
    main()
