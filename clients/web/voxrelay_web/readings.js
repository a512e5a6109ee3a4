// Characters that are read in more than one way, and how; and pinyin as the marks of a text.

const TABLE = `好 hǎo hào|行 xíng háng|长 cháng zhǎng|重 zhòng chóng|乐 lè yuè|得 dé de děi|还 hái huán|都 dōu dū
了 le liǎo|着 zhe zháo zhāo zhuó|地 dì de|的 de dí dì|为 wéi wèi|发 fā fà|数 shù shǔ|教 jiào jiāo|觉 jué jiào|给 gěi jǐ
少 shǎo shào|种 zhǒng zhòng|传 chuán zhuàn|调 diào tiáo|背 bèi bēi|便 biàn pián|朝 cháo zhāo|处 chù chǔ|当 dāng dàng
倒 dǎo dào|干 gàn gān|更 gèng gēng|假 jiǎ jià|间 jiān jiàn|将 jiāng jiàng|降 jiàng xiáng|看 kàn kān|空 kōng kòng
落 luò là lào|没 méi mò|难 nán nàn|强 qiáng qiǎng jiàng|切 qiè qiē|曲 qū qǔ|散 sàn sǎn|舍 shě shè|似 sì shì
宿 sù xiǔ|弹 tán dàn|挑 tiāo tiǎo|相 xiāng xiàng|兴 xīng xìng|要 yào yāo|应 yīng yìng|载 zài zǎi|占 zhàn zhān
涨 zhǎng zhàng|正 zhèng zhēng|只 zhǐ zhī|中 zhōng zhòng|转 zhuǎn zhuàn|作 zuò zuō|差 chà chā chāi|称 chēng chèn
盛 shèng chéng|藏 cáng zàng|参 cān shēn|单 dān shàn|分 fēn fèn|冠 guān guàn|和 hé hè huò|会 huì kuài|几 jǐ jī
角 jiǎo jué|结 jié jiē|累 lèi lěi|量 liàng liáng|率 lǜ shuài|模 mó mú|漂 piào piāo|铺 pū pù|奇 qí jī|塞 sāi sài sè
石 shí dàn|省 shěng xǐng|血 xuè xiě|咽 yān yàn yè|与 yǔ yù|扎 zā zhā|着 zhe zháo|钻 zuān zuàn|薄 báo bó|冲 chōng chòng`;

const TONES = { 1: "\u0304", 2: "\u0301", 3: "\u030c", 4: "\u0300", 5: "" };
const SYLLABLE = /^(zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?([aeiouü]+(?:ng|n|r)?)([1-5])?$/;

const READINGS = new Map(TABLE.split(/[|\n]/).map(entry => {
  const [character, ...readings] = entry.split(" ");
  return [character, readings];
}));

export function readingsOf(character) {
  return READINGS.get(character) ?? [];
}

// `hào` and `hao4` as the mark `[h][ào]`; null where it is no syllable.
export function mark(pinyin) {
  const bare = pinyin.trim().toLowerCase().normalize("NFD");
  const accent = Object.keys(TONES).find(tone => TONES[tone] && bare.includes(TONES[tone]));
  const plain = (accent ? bare.replace(TONES[accent], "") : bare).normalize("NFC").replace("v", "ü");
  const [, initial, final, digit] = SYLLABLE.exec(plain) ?? [];
  if (!final || (accent && digit)) return null;
  const toned = accented(final, digit ?? accent ?? "5");
  return initial ? `[${initial}][${toned}]` : `[${toned}]`;
}

// The accent where pinyin puts it: on a or e, on the o of ou, else on the last vowel.
function accented(final, tone) {
  const strong = final.search(/[ae]|ou/);
  const at = strong >= 0 ? strong : Math.max(...[..."iouü"].map(vowel => final.lastIndexOf(vowel)));
  return (final.slice(0, at + 1) + TONES[tone] + final.slice(at + 1)).normalize("NFC");
}
