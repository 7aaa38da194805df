"""Language tags: which ones a multilingual tokenizer has, and where they stand around a text.

The codes are those of the checkpoints (mBART, mBART-50, M2M-100, NLLB-200, Whisper); their order is that of their ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

from regard.errors import ConfigError, did_you_mean, listed
from regard.text.backend import Backend
from regard.text.layout import Layout
from regard.text.settings import Settings

Part = Literal["source", "target"]
"""What an encoder reads, and what a decoder writes."""

MBART = """
    ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX
    ro_RO ru_RU si_LK tr_TR vi_VN zh_CN
"""
MBART50 = f"""
    {MBART}
    af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN
    te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI
"""
M2M100 = """
    af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu hy id
    ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro ru sd si sk
    sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu
"""
WMT21 = "en ha is ja cs ru zh de"
NLLB = """
    ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn amh_Ethi apc_Arab arb_Arab ars_Arab ary_Arab
    arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn ban_Latn bel_Cyrl bem_Latn ben_Beng
    bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn
    cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn
    pes_Arab fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn
    hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn
    jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor knc_Arab knc_Latn kaz_Cyrl kbp_Latn kea_Latn
    khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kon_Latn kor_Hang kmr_Latn lao_Laoo lvs_Latn lij_Latn lim_Latn lin_Latn
    lit_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Latn
    mkd_Cyrl plt_Latn mlt_Latn mni_Beng khk_Cyrl mos_Latn mri_Latn zsm_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva
    nso_Latn nus_Latn nya_Latn oci_Latn gaz_Latn ory_Orya pag_Latn pan_Guru pap_Latn pol_Latn por_Latn prs_Arab pbt_Arab
    quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Beng scn_Latn shn_Mymr sin_Sinh slk_Latn slv_Latn smo_Latn
    sna_Latn snd_Arab som_Latn sot_Latn spa_Latn als_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn szl_Latn
    tam_Taml tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi taq_Latn taq_Tfng tpi_Latn tsn_Latn tso_Latn tuk_Latn
    tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn
    xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zul_Latn
"""
WHISPER = """
    en=english zh=chinese de=german es=spanish ru=russian ko=korean fr=french ja=japanese pt=portuguese tr=turkish
    pl=polish ca=catalan nl=dutch ar=arabic sv=swedish it=italian id=indonesian hi=hindi fi=finnish vi=vietnamese
    he=hebrew uk=ukrainian el=greek ms=malay cs=czech ro=romanian da=danish hu=hungarian ta=tamil no=norwegian th=thai
    ur=urdu hr=croatian bg=bulgarian lt=lithuanian la=latin mi=maori ml=malayalam cy=welsh sk=slovak te=telugu fa=persian
    lv=latvian bn=bengali sr=serbian az=azerbaijani sl=slovenian kn=kannada et=estonian mk=macedonian br=breton eu=basque
    is=icelandic hy=armenian ne=nepali mn=mongolian bs=bosnian kk=kazakh sq=albanian sw=swahili gl=galician mr=marathi
    pa=punjabi si=sinhala km=khmer sn=shona yo=yoruba so=somali af=afrikaans oc=occitan ka=georgian be=belarusian
    tg=tajik sd=sindhi gu=gujarati am=amharic yi=yiddish lo=lao uz=uzbek fo=faroese ht=haitian_creole ps=pashto
    tk=turkmen nn=nynorsk mt=maltese sa=sanskrit lb=luxembourgish my=myanmar bo=tibetan tl=tagalog mg=malagasy
    as=assamese tt=tatar haw=hawaiian ln=lingala ha=hausa ba=bashkir jw=javanese su=sundanese yue=cantonese
"""

CODES = {"MBart": MBART, "MBart50": MBART50, "M2M100": M2M100, "Nllb": NLLB}
SIDED = (*CODES, "Marian")
"""Kinds whose target side differs from their source."""
KINDS = (*SIDED, "Whisper")
"""Kinds whose special tokens depend on the language."""

NAMES = dict(pair.split("=") for pair in WHISPER.split())
"""Whisper's codes, and the names that its settings may use for them."""

DEFAULT = {"MBart": "en_XX", "MBart50": "en_XX", "M2M100": "en", "Nllb": "eng_Latn"}
"""The language of a text when the settings name none."""

KEYS = {"Whisper": "language", "Marian": "language_tag"}
"""Where `tokenizer_config.json` keeps the language, if not in `src_lang` and `tgt_lang`.

Marian's key is ours: its tag, before the source, says what to translate into, and others write it into each text.
"""

FORMS = {"M2M100": "__{}__", "Whisper": "<|{}|>", "Marian": ">>{}<<"}
"""The token of a language; elsewhere it is the code itself."""

LIKE_A_CODE = re.compile(r"[a-z]{2,3}_[A-Z]\w+")

START, NO_TIMESTAMPS, PROMPT = "<|startoftranscript|>", "<|notimestamps|>", "<|startofprev|>"
TASKS = ("transcribe", "translate")
"""What Whisper may be asked for."""

BEHIND = ("$A eos tag", "$A $B eos tag")
BEFORE = ("tag $A eos", "tag $A $B eos")
UNTAGGED = ("$A eos", "$A $B eos")


def codes(settings: Settings) -> list[str]:
    """The languages that every tokenizer of this kind has, in the order of their ids."""
    if settings.kind == "M2M100" and settings.word("language_codes", "m2m100") == "wmt21":
        return WMT21.split()
    return CODES.get(settings.kind, "").split()


def tag(kind: str, code: str) -> str:
    """The token that stands for a language."""
    return FORMS.get(kind, "{}").format(code)


def tags(settings: Settings, backend: Backend) -> dict[str, int]:
    """Language -> the id of its tag, for those that the vocabulary has; empty for a tokenizer of one language."""
    kind = settings.kind
    if kind == "Marian":
        tokens = ((index, backend.token(index) or "") for index in range(backend.size))
        return {token[2:-2]: index for index, token in tokens if token[:2] == ">>" and token[-2:] == "<<"}
    names = [*NAMES] if kind == "Whisper" else codes(settings)
    if kind in CODES:
        added = (token.content for token in settings.extra())
        names += [token for token in added if LIKE_A_CODE.fullmatch(token) and token not in names]
    numbers = {name: backend.id_of(tag(kind, name)) for name in names}
    return {name: index for name, index in numbers.items() if index is not None}


def find(settings: Settings, tags: Mapping[str, int], language: str) -> str:
    """The language as the tokenizer calls it.

    Raises :class:`~regard.errors.ConfigError` for one that the tokenizer does not have.
    """
    code = _code(settings.kind, language)
    if code not in tags:
        what = f"no language {language!r}" if tags else f"no language {language!r}: this tokenizer has no language tags"
        raise ConfigError(what, allowed=listed(tags, limit=60), fix=did_you_mean(code, tags))
    return code


def with_language(settings: Settings, part: Part, code: str) -> Settings:
    """The settings with another language."""
    more = {"task": settings.word("task", "transcribe")} if settings.kind == "Whisper" else {}
    return settings.changed(**{_key(settings.kind, part): code}, **more)


def layout(settings: Settings, part: Part, tags: Mapping[str, int], roles: Mapping[str, str], backend: Backend) -> Layout:
    """The places of a tokenizer of one of :data:`KINDS`, in the language that its settings name."""
    kind = settings.kind
    names = {**roles, "start": START, "notimestamps": NO_TIMESTAMPS}
    if kind == "Whisper" and (task := settings.word("task")):
        if task not in TASKS:
            raise settings.wrong("task", task, listed(TASKS))
        names["task"] = f"<|{task}|>"
    ids = {name: index for name, token in names.items() if (index := backend.id_of(token)) is not None}
    code = _code(kind, _chosen(settings, part, tags))
    if code:
        if code not in tags:
            raise settings.wrong(_key(kind, part), code, listed(tags, limit=60))
        ids["tag"] = tags[code]
    return Layout.parse(*_templates(settings, ids), ids)


def prompt(settings: Settings, number: Callable[[str], int | None]) -> tuple[int, int] | None:
    """The ids that begin Whisper's prompt (what was said before) and what is said now. number: the id of a token."""
    before, now = number(PROMPT), number(START)
    return (before, now) if settings.kind == "Whisper" and before is not None and now is not None else None


def _templates(settings: Settings, ids: Mapping[str, int]) -> tuple[str, str]:
    if settings.kind == "Whisper":
        stamped = settings.flag("predict_timestamps", False)
        before = ["start", *(name for name in ("tag", "task") if name in ids), *([] if stamped else ["notimestamps"])]
        return " ".join([*before, "$A eos"]), " ".join([*before, "$A $B:1 eos:1"])
    if "tag" not in ids:
        return UNTAGGED
    if settings.kind == "MBart" or (settings.kind == "Nllb" and settings.flag("legacy_behaviour", False)):
        return BEHIND
    return BEFORE


def _key(kind: str, part: Part) -> str:
    return KEYS.get(kind) or ("src_lang" if part == "source" else "tgt_lang")


def _chosen(settings: Settings, part: Part, tags: Mapping[str, int]) -> str:
    """The language of a part, if it has one; that of the source where the target names none."""
    if settings.kind == "Marian" and part == "target":
        return ""
    default = DEFAULT.get(settings.kind, "")
    source = settings.word(_key(settings.kind, "source"), default if default in tags else "")
    return settings.word(_key(settings.kind, part), source)


def _code(kind: str, language: str) -> str:
    """`Hindi` -> `hi`, which Whisper's settings allow; every other word as it is."""
    if kind != "Whisper":
        return language
    return next((code for code, name in NAMES.items() if name == language.lower()), language.lower())
