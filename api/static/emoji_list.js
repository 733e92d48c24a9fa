// @ts-check
/**
 * The emoji that the picker offers, with words to find them by: English before the bar, Russian
 * after it. The first words, up to a comma, are the emoji's name.
 * @module
 */

/** The order is Unicode's. @type {Record<string, string>} */
const LINES = {
  smileys: `
😀 grinning face, smile, happy|улыбка, радость
😃 big smile, happy|широкая улыбка, радость
😄 laughing eyes, smile, happy|смеющиеся глаза, радость
😁 beaming face, grin|сияющее лицо, ухмылка
😆 squinting laugh, haha|смех с прищуром, хаха
😅 laugh in sweat, relief, phew|смех в поту, уф
🤣 rolling with laughter, rofl|катается от смеха, ржу
😂 tears of joy, lol, laugh|слёзы радости, смех
🙂 slight smile|лёгкая улыбка
🙃 upside down, irony|вверх ногами, ирония
😉 wink|подмигивание
😊 smiling eyes, blush, pleased|довольная улыбка, румянец
😇 halo, angel, innocent|нимб, ангел
🥰 in love, hearts, adore|влюблённость, сердечки
😍 heart eyes, love|глаза сердечками, любовь
🤩 starry eyes, wow|звёзды в глазах, восторг
😘 kiss|поцелуй
😋 tasty, yum|вкусно, ням
😜 winking tongue, joking|язык и подмигивание, шутка
🤪 zany, crazy|безумие, псих
🤗 hug|объятие, обнимаю
🤭 hand over mouth, oops|рука у рта, ой
🤫 hush, quiet|тише, секрет
🤔 thinking, hmm|задумчивость, хм
🤐 zipped mouth, silent|рот на замке, молчу
🤨 raised eyebrow, doubt|поднятая бровь, сомнение
😐 neutral face, meh|без эмоций
😏 smirk|усмешка
😒 unamused|недовольство
🙄 rolling eyes|закатил глаза
😬 grimace, awkward|гримаса, неловко
😌 relieved, calm|облегчение, спокойствие
😔 pensive, sad|грусть, печаль
😴 sleeping, tired|сон, устал
😷 mask, ill|маска, болею
🤒 thermometer, ill, fever|градусник, болею
🤯 mind blown, shock|взрыв мозга, шок
🥳 party, birthday|праздник, день рождения
😎 sunglasses, cool|тёмные очки, круто
🤓 nerd, glasses|ботан, очки
😕 confused|растерянность
😟 worried|беспокойство
😮 open mouth, surprise, wow|удивление, ого
😳 flushed, embarrassed|смущение
🥺 pleading, please|мольба, пожалуйста
😢 crying, tear|слеза, плачу
😭 sobbing, loud cry|рыдание, плачу
😱 scream, fear|крик, ужас
😞 disappointed|разочарование
😩 weary|изнеможение
🥱 yawn, bored|зевота, скука
😤 huff, triumph|пыхтит, упорство
😡 angry, red face|гнев, злость
🤬 cursing, swearing|ругань, мат
💀 skull, dead|череп, умер
💩 poo|какашка
🤡 clown|клоун
👻 ghost|привидение
🤖 robot|робот`,
  people: `
👋 waving hand, hello, bye|машу рукой, привет, пока
✋ raised hand, stop|поднятая ладонь, стоп
👌 ok hand, perfect|окей, отлично
🤞 crossed fingers, luck|скрещённые пальцы, удача
✌️ victory, peace|победа, мир
🤘 horns, rock|коза, рок
👈 pointing left|палец влево
👉 pointing right|палец вправо
👆 pointing up|палец вверх, выше
👇 pointing down|палец вниз, ниже
👍 thumbs up, like, yes, agree|палец вверх, лайк, да, согласен
👎 thumbs down, dislike, no|палец вниз, дизлайк, нет
✊ raised fist|кулак
👊 fist bump|удар кулаком
👏 clapping, applause, bravo|аплодисменты, браво
🙌 raised hands, hooray|руки вверх, ура
🤝 handshake, deal|рукопожатие, договорились
🙏 folded hands, thanks, please|сложенные руки, спасибо, прошу
✍️ writing hand|пишу
💪 muscle, strong|мускул, сила
👀 eyes, looking|глаза, смотрю
🧠 brain|мозг
🤷 shrug, no idea|пожимаю плечами, не знаю
🤦 facepalm|рука на лице
🙋 hand up, me|поднял руку, я
🏃 running|бегу
💃 dancing|танец`,
  nature: `
🐶 dog|собака
🐱 cat|кошка
🐭 mouse|мышь
🦊 fox|лиса
🐻 bear|медведь
🐼 panda|панда
🦁 lion|лев
🐸 frog|лягушка
🐵 monkey|обезьяна
🦄 unicorn|единорог
🐝 bee|пчела
🦋 butterfly|бабочка
🐢 turtle, slow|черепаха, медленно
🐳 whale|кит
🌲 tree, forest|ёлка, лес
🌸 blossom, flower|цветок
🌹 rose|роза
🍀 clover, luck|клевер, удача
☀️ sun, sunny|солнце
🌈 rainbow|радуга
⛅ cloud|облако
🌧️ rain|дождь
❄️ snow, cold|снег, холод
🔥 fire, hot, great|огонь, жара, класс
🌊 wave, sea|волна, море
⭐ star|звезда
🌙 moon, night|луна, ночь
🌍 earth, world|земля, мир`,
  food: `
🍎 apple|яблоко
🍌 banana|банан
🍓 strawberry|клубника
🍉 watermelon|арбуз
🥕 carrot|морковь
🍞 bread|хлеб
🧀 cheese|сыр
🍕 pizza|пицца
🍔 burger|бургер
🍟 fries|картошка фри
🍣 sushi|суши
🍜 noodles, soup|лапша, суп
🍦 ice cream|мороженое
🍰 cake|торт, пирог
🎂 birthday cake|торт со свечами, день рождения
🍫 chocolate|шоколад
🍿 popcorn|попкорн
☕ coffee, hot drink|кофе
🍵 tea|чай
🍺 beer|пиво
🍷 wine|вино
🥂 clinking glasses, cheers|бокалы, за нас
🍾 champagne|шампанское`,
  things: `
⚽ football, soccer|футбол, мяч
🏀 basketball|баскетбол
🎮 game|игра
🎲 dice|кубик, игра
🎯 bullseye, target|в яблочко, цель
🎵 music, note|музыка, нота
🎸 guitar|гитара
🎁 gift, present|подарок
🎉 party popper, hooray|хлопушка, ура
🎈 balloon|шарик
🏆 trophy, win|кубок, победа
🥇 gold medal, first|золотая медаль, первый
🚗 car|машина
🚲 bicycle|велосипед
🚂 train|поезд
✈️ plane, travel|самолёт, поездка
🚀 rocket, launch|ракета, запуск
🏠 house, home|дом
🏖️ beach, holiday|пляж, отпуск
⛺ tent, camping|палатка, поход
⏰ alarm clock|будильник
⏳ hourglass, waiting|песочные часы, жду
📱 phone|телефон
💻 laptop, computer|ноутбук, компьютер
📷 camera, photo|фотоаппарат, снимок
💡 light bulb, idea|лампочка, идея
📚 books|книги
✏️ pencil|карандаш
📎 paperclip|скрепка
📌 pin|кнопка, закрепить
📅 calendar, date|календарь, дата
📈 chart up, growth|график вверх, рост
📉 chart down, fall|график вниз, спад
🔑 key|ключ
🔒 lock|замок
🔧 wrench, repair|гаечный ключ, ремонт
🐛 bug|баг, жук
💰 money|деньги
💊 pill, medicine|таблетка, лекарство`,
  signs: `
❤️ red heart, love|красное сердце, любовь
🧡 orange heart|оранжевое сердце
💛 yellow heart|жёлтое сердце
💚 green heart|зелёное сердце
💙 blue heart|синее сердце
💜 purple heart|фиолетовое сердце
🖤 black heart|чёрное сердце
💔 broken heart|разбитое сердце
💯 hundred, perfect|сто, идеально
💥 boom|взрыв
✨ sparkles, shiny|искры, блеск
💬 speech|разговор
💤 zzz, sleep|сон
✅ check mark, done, yes|галочка, готово, да
❌ cross mark, no|крестик, нет
❓ question|вопрос
❗ exclamation, important|восклицание, важно
⚠️ warning|внимание, опасность
🚫 prohibited|запрещено
➕ plus|плюс
➖ minus|минус
🔴 red circle|красный круг
🟡 yellow circle|жёлтый круг
🟢 green circle|зелёный круг
🔵 blue circle|синий круг
🏁 finish flag|финиш
🏳️‍🌈 rainbow flag|радужный флаг`,
};

/** @typedef {{emoji: string, words: Record<string, string>}} Known */

const read = (/** @type {string} */ line) => {
  const [, emoji, en, ru] = /** @type {RegExpExecArray} */ (/^(\S+) (.+)\|(.+)$/.exec(line));
  return { emoji, words: { en, ru } };
};

/** @type {Record<string, Known[]>} */
export const GROUPS = Object.fromEntries(Object.entries(LINES).map(([name, lines]) => [name, lines.trim().split('\n').map(read)]));

const ALL = new Map(Object.values(GROUPS).flat().map((one) => [one.emoji, one]));

/**
 * What an emoji is called; the emoji itself where it is not in the list.
 * @param {string} emoji
 * @param {string} language
 */
export const nameOf = (emoji, language) => ALL.get(emoji)?.words[language]?.split(',')[0] ?? emoji;

/**
 * Those of which every word that is looked for begins a word.
 * @param {string} wanted @param {string} language English finds too @returns {Known[]}
 */
export function find(wanted, language) {
  const fold = (/** @type {string} */ text) => text.toLowerCase().replaceAll('ё', 'е');
  const beginnings = fold(wanted).split(/\s+/).filter(Boolean);
  return [...ALL.values()].filter(({ emoji, words }) => {
    if (emoji === wanted.trim()) return true;
    const known = fold(`${words[language] ?? ''} ${words.en}`).split(/[\s,]+/);
    return beginnings.every((one) => known.some((word) => word.startsWith(one)));
  });
}
