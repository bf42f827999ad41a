//! The conversations. `{name}` and `{number}` are filled in for each call.

use rand::{Rng, RngExt, seq::IndexedRandom};

/// A conversation that leads to a transfer.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) language: &'static str,
    pub(super) phones: Phones,
    pub(super) names: &'static [&'static str],
    pub(super) topics: &'static [&'static str],
    pub(super) actions: &'static [&'static str],
    pub(super) transfer_reason: &'static str,
    pub(super) sentiment: &'static str,
    pub(super) unresolved: &'static [&'static str],
    pub(super) turns: &'static [Turn],
    /// What the agent says if nobody answers the transfer.
    pub(super) failure: &'static str,
}

/// Who speaks, and what is said.
#[derive(Debug)]
pub(super) struct Turn(pub(super) &'static str, pub(super) &'static str);

const fn user(content: &'static str) -> Turn {
    Turn("user", content)
}

const fn agent(content: &'static str) -> Turn {
    Turn("agent", content)
}

/// Numbers that a regulator reserves for films and books: one of the prefixes, and then a number
/// below the bound.
#[derive(Debug)]
pub(super) struct Phones {
    prefixes: &'static [&'static str],
    digits: usize,
    bound: u32,
}

impl Phones {
    pub(super) fn number(&self, rng: &mut impl Rng) -> String {
        let prefix = self.prefixes.choose(rng).copied().unwrap_or_default();
        let number = rng.random_range(0..self.bound);
        format!("{prefix}{number:0digits$}", digits = self.digits)
    }
}

/// 555-0100 to 555-0199 of any area.
const NORTH_AMERICA: Phones = Phones {
    prefixes: &[
        "+120255501",
        "+130355501",
        "+141555501",
        "+161755501",
        "+171355501",
    ],
    digits: 2,
    bound: 100,
};

/// Ofcom: 07700 900000 to 900999, and 020 7946 0000 to 0999.
const UNITED_KINGDOM: Phones = Phones {
    prefixes: &["+447700900", "+442079460"],
    digits: 3,
    bound: 1000,
};

/// Arcep: 06 39 98 00 00 to 99 99, and 01 99 00 00 00 to 99 99.
const FRANCE: Phones = Phones {
    prefixes: &["+3363998", "+3319900"],
    digits: 4,
    bound: 10_000,
};

/// Bundesnetzagentur: 030 23125 000 to 999, and 089 99998 000 to 999.
const GERMANY: Phones = Phones {
    prefixes: &["+493023125", "+498999998"],
    digits: 3,
    bound: 1000,
};

pub(super) const SCRIPTS: [Script; 8] = [
    Script {
        language: "en-US",
        phones: NORTH_AMERICA,
        names: &[
            "Dana Whitfield",
            "Marcus Ortega",
            "Priya Raman",
            "Lou Becker",
        ],
        topics: &["order_status", "late_delivery", "call_transfer_request"],
        actions: &[
            "Looked up the order",
            "Checked the carrier's tracking",
            "Initiated call transfer to human agent",
        ],
        transfer_reason: "Customer wants a refund for a parcel that is marked as delivered but did \
         not arrive.",
        sentiment: "negative",
        unresolved: &[
            "Parcel marked as delivered was not received",
            "Refund not approved yet",
        ],
        turns: &[
            agent("Thanks for calling Northwind Outfitters. How can I help you today?"),
            user("Hi, this is {name}. My order {number} says delivered, but there's nothing here."),
            agent("I'm sorry to hear that, {name}. Let me look up order {number} for you."),
            agent(
                "The carrier recorded a delivery on Tuesday at 2:14 in the afternoon, at the side \
                 door.",
            ),
            user("I don't have a side door. I checked with the neighbors, too."),
            agent(
                "Then it may have gone to another address. I can open a trace, which takes up to \
                 five days.",
            ),
            user("No, I need it by Friday. Just let me talk to somebody who can refund me."),
            agent(
                "Of course. I'll transfer you to a person on our delivery team now. Please stay on \
                 the line.",
            ),
        ],
        failure: "Nobody on the delivery team is free right now. I've asked them to call you back \
                  within the hour.",
    },
    Script {
        language: "en-US",
        phones: NORTH_AMERICA,
        names: &[
            "Gloria Stein",
            "Terrence Moody",
            "Wei Zhang",
            "Abby Kowalski",
        ],
        topics: &["billing", "duplicate_charge"],
        actions: &[
            "Verified the account",
            "Reviewed the last three statements",
            "Initiated call transfer to billing",
        ],
        transfer_reason: "Duplicate charge above the amount that the agent may refund.",
        sentiment: "neutral",
        unresolved: &["Second charge of $214.60 still to be reversed"],
        turns: &[
            agent("Hello, you've reached Harbor Energy. What can I do for you?"),
            user("You charged me twice this month. Two hundred fourteen dollars, both times."),
            agent("Let me check. May I have the name and the account number, please?"),
            user("{name}, account ending in {number}."),
            agent("Thank you. I do see two payments of $214.60 on the third, four minutes apart."),
            user("Right. I only clicked once."),
            agent(
                "It looks like the first attempt timed out and was sent again. A refund of this \
                 size needs a colleague's approval.",
            ),
            user("Okay, can you put me through?"),
            agent(
                "Yes. I'm connecting you with billing, and they will see everything we've talked \
                 about.",
            ),
        ],
        failure: "Billing isn't picking up. I've filed the refund for approval, and you'll get an \
                  email by tomorrow.",
    },
    Script {
        language: "en-GB",
        phones: UNITED_KINGDOM,
        names: &["Mrs Okafor", "Mr Pennington", "Ms Llewellyn", "Mr Hussain"],
        topics: &["appointment", "rescheduling"],
        actions: &[
            "Found the booking",
            "Offered three other slots",
            "Initiated call transfer to reception",
        ],
        transfer_reason: "Patient needs an appointment sooner than the diary allows the agent to \
         book.",
        sentiment: "positive",
        unresolved: &[],
        turns: &[
            agent("Good morning, Elm Grove Dental Practice. How may I help?"),
            user(
                "Morning. It's {name}, I'm booked in for the nineteenth but I've chipped a tooth.",
            ),
            agent("Oh dear, I'm sorry. Are you in any pain, {name}?"),
            user("Not too bad, only when I drink something cold."),
            agent(
                "I could offer you Thursday at half past four, or Friday at nine or ten fifteen.",
            ),
            user("Is there nothing today? I'm off on holiday tomorrow."),
            agent("Only reception can open an emergency slot. Shall I put you through?"),
            user("That'd be lovely, thank you."),
            agent("One moment, please. Your reference is {number}, should you need it."),
        ],
        failure: "Reception's line is engaged. They'll ring you back within ten minutes.",
    },
    Script {
        language: "es-US",
        phones: NORTH_AMERICA,
        names: &[
            "Lucía Fernández",
            "Jorge Salcedo",
            "Marisol Peña",
            "Ernesto Quiroga",
        ],
        topics: &["tarjeta_bloqueada", "verificación_de_identidad"],
        actions: &[
            "Verificó la identidad del cliente",
            "Consultó el motivo del bloqueo",
            "Inició la transferencia a un asesor",
        ],
        transfer_reason: "La tarjeta fue bloqueada por sospecha de fraude y solo un asesor puede \
         desbloquearla.",
        sentiment: "negative",
        unresolved: &["Tarjeta bloqueada", "Cargo de 389 dólares sin reconocer"],
        turns: &[
            agent("Banco Alameda, buenas tardes. ¿En qué puedo ayudarle?"),
            user(
                "Buenas tardes, soy {name}. Me rechazaron la tarjeta en el supermercado, ¡qué \
                 vergüenza!",
            ),
            agent("Lo lamento mucho. ¿Me confirma los últimos dígitos de su cuenta, por favor?"),
            user("Sí, {number}."),
            agent("Gracias. La tarjeta se bloqueó hoy por un cargo de 389 dólares en otra ciudad."),
            user("Ese cargo no es mío. Yo no he salido de Houston."),
            agent(
                "Entiendo. Para reponer la tarjeta necesita hablar con el equipo de fraude. Le \
                 transfiero ahora mismo.",
            ),
            user("Está bien, espero."),
        ],
        failure: "En este momento todos los asesores están ocupados. Le devolveremos la llamada en \
                  menos de quince minutos.",
    },
    Script {
        language: "fr-FR",
        phones: FRANCE,
        names: &[
            "Madame Lefèvre",
            "Monsieur Benali",
            "Madame Nguyen",
            "Monsieur Gauthier",
        ],
        topics: &["panne_internet", "diagnostic_de_ligne"],
        actions: &[
            "Diagnostic de la ligne",
            "Redémarrage de la box à distance",
            "Transfert vers un technicien",
        ],
        transfer_reason: "La ligne ne se synchronise pas après le redémarrage ; un technicien est \
         nécessaire.",
        sentiment: "neutral",
        unresolved: &[
            "Pas de synchronisation de la fibre",
            "Rendez-vous technicien à fixer",
        ],
        turns: &[
            agent("Bonjour, assistance Fibrélia. Que puis-je faire pour vous ?"),
            user("Bonjour, je n'ai plus internet depuis hier soir et le voyant est rouge."),
            agent(
                "Je comprends, c'est gênant. Pouvez-vous me donner votre nom et votre numéro de \
                 client ?",
            ),
            user("{name}, numéro {number}."),
            agent(
                "Merci. Je lance un diagnostic… Votre box est joignable, mais le signal optique \
                 est trop faible.",
            ),
            user("Je l'ai déjà débranchée trois fois, vous savez."),
            agent(
                "Je la redémarre à distance… Le signal n'est pas revenu. Je vous passe un \
                 technicien.",
            ),
            user("D'accord, merci bien."),
            agent("Ne quittez pas, je vous mets en relation."),
        ],
        failure: "Aucun technicien n'est disponible pour l'instant. Nous vous rappelons avant \
                  midi.",
    },
    Script {
        language: "de-DE",
        phones: GERMANY,
        names: &[
            "Frau Özdemir",
            "Herr Brandstätter",
            "Frau Kühn",
            "Herr Nowak",
        ],
        topics: &["schadensmeldung", "wasserschaden"],
        actions: &[
            "Schaden aufgenommen",
            "Vertrag geprüft",
            "Weiterleitung an die Schadensabteilung",
        ],
        transfer_reason: "Der Kunde braucht eine Zusage für einen Notdienst, die nur die \
         Schadensabteilung geben kann.",
        sentiment: "negative",
        unresolved: &["Kostenzusage für den Notdienst"],
        turns: &[
            agent("Guten Tag, hier ist die Nordlicht Versicherung. Worum geht es?"),
            user(
                "{name} hier. Bei mir läuft Wasser aus der Wand, und der Installateur will eine \
                 Zusage von Ihnen.",
            ),
            agent("Das klingt dringend. Haben Sie den Haupthahn schon zugedreht?"),
            user("Ja, aber der Boden ist klatschnass und drüben beim Nachbarn tropft es."),
            agent(
                "Gut, dass Sie schnell waren. Ihre Vertragsnummer endet auf {number}, stimmt das?",
            ),
            user("Stimmt."),
            agent(
                "Leitungswasser ist mitversichert. Die Zusage für den Notdienst gibt die \
                 Schadensabteilung, ich verbinde Sie.",
            ),
            user("Bitte, und zwar schnell."),
        ],
        failure: "In der Schadensabteilung ist gerade besetzt. Sie werden in den nächsten fünf \
                  Minuten zurückgerufen.",
    },
    Script {
        language: "bn-BD",
        phones: UNITED_KINGDOM,
        names: &["রফিকুল ইসলাম", "নুসরাত জাহান", "তানভীর আহমেদ", "শারমিন আক্তার"],
        topics: &["রিচার্জ_সমস্যা", "ব্যালেন্স"],
        actions: &[
            "লেনদেন যাচাই করা হয়েছে",
            "মানব প্রতিনিধির কাছে কল স্থানান্তর শুরু হয়েছে",
        ],
        transfer_reason: "রিচার্জের টাকা কাটা হয়েছে কিন্তু ব্যালেন্স যোগ হয়নি।",
        sentiment: "neutral",
        unresolved: &["রিচার্জের টাকা ফেরত বা ব্যালেন্স যোগ করা বাকি"],
        turns: &[
            agent("আসসালামু আলাইকুম, কীভাবে সাহায্য করতে পারি?"),
            user(
                "ওয়ালাইকুম আসসালাম। আমি {name}। লন্ডন থেকে দেশে রিচার্জ করেছিলাম, টাকা কেটেছে \
                 কিন্তু ব্যালেন্স আসেনি।",
            ),
            agent("দুঃখিত। লেনদেন নম্বরটি বলবেন?"),
            user("{number}।"),
            agent("ধন্যবাদ। লেনদেনটি এখনো প্রক্রিয়াধীন দেখাচ্ছে।"),
            user("তিন ঘণ্টা হয়ে গেছে। একজন মানুষের সাথে কথা বলতে চাই।"),
            agent("অবশ্যই, আপনাকে একজন প্রতিনিধির সাথে যুক্ত করছি। একটু অপেক্ষা করুন।"),
        ],
        failure: "এই মুহূর্তে কোনো প্রতিনিধি ফাঁকা নেই। আমরা শীঘ্রই আপনাকে ফোন করব।",
    },
    Script {
        language: "ja-JP",
        phones: NORTH_AMERICA,
        names: &["佐藤", "高橋", "小林", "中村"],
        topics: &["予約変更", "フライト"],
        actions: &["予約を確認", "空席を照会", "担当者への転送を開始"],
        transfer_reason: "特典航空券の変更は担当者のみが対応できるため。",
        sentiment: "positive",
        unresolved: &["便の変更手続き"],
        turns: &[
            agent("お電話ありがとうございます。はやぶさ航空です。ご用件をお伺いします。"),
            user("{name}と申します。来週のサンフランシスコ発の便を一日遅らせたいのですが。"),
            agent("{name}様、ありがとうございます。予約番号をお願いいたします。"),
            user("{number}です。"),
            agent(
                "確認いたしました。翌日の便に空席がございますが、特典航空券のため担当者が承ります。",
            ),
            user("では、お願いします。"),
            agent("担当者におつなぎいたします。少々お待ちください。"),
        ],
        failure: "ただいま電話が大変混み合っております。三十分以内に折り返しご連絡いたします。",
    },
];
