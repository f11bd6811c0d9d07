//! Names that break things: each goes there and back, as a file and as a directory.

use causeway_storage::Can;

use crate::cases::{FILES, TREES, case};
use crate::ground::{child, content, ensure, refused};
use crate::{Case, Flaw, Ground, Outcome};
use causeway_storage::ErrorKind;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!("names/control-characters", FILES, control),
        case!("names/punctuation", FILES, punctuation),
        case!("names/dots", FILES, dots),
        case!("names/leading", FILES, leading),
        case!("names/trailing", FILES, trailing),
        case!("names/percent", FILES, percent),
        case!("names/look-like-queries", FILES, queries),
        case!("names/languages", FILES, languages),
        case!("names/unicode-forms", FILES, forms),
        case!("names/replacements", FILES, replacements),
        case!("names/long", FILES, long),
        case!(
            "names/too-long",
            FILES,
            |features, _| features.longest_name_bytes.is_some_and(|bytes| bytes < 4096),
            too_long
        ),
        case!("names/nasty-path", FILES | Can::DIRECTORIES, nasty_path),
        case!("names/moved", FILES | Can::MOVE, moved),
        case!("names/directories", TREES, directories),
    ]
}

/// What a name may hold, one by one: a file of this name is written, listed, looked up, read and removed.
async fn round_trip(ground: &Ground, names: &[&str]) -> Outcome {
    let mut broken = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if let Err(Flaw(why)) = one(ground, name, at as u64).await {
            broken.push(format!("{name:?}: {why}"));
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    Ok(())
}

async fn one(ground: &Ground, name: &str, seed: u64) -> Outcome {
    let path = child(&ground.root, name)?;
    let bytes = content(100 + seed, 20);
    let entry = ground.write(&path, &bytes, None, None).await?;
    ground.lists(&ground.root, &[name]).await?;
    ground.holds(&path, &bytes).await?;
    let node = causeway_storage::Node::of(path.clone(), &entry);
    ground.storage.remove_file(&node).await?;
    ground.gone(&path).await
}

async fn control(ground: &Ground) -> Outcome {
    let all: Vec<String> = (1u8..32).chain([127]).map(|code| format!("a{}b", char::from(code))).collect();
    let together: String = (1u8..32).chain([127]).map(char::from).collect();
    let mut names: Vec<&str> = all.iter().map(String::as_str).collect();
    names.push(&together);
    round_trip(ground, &names).await
}

async fn punctuation(ground: &Ground) -> Outcome {
    let each = "!\"#$%&'()*+,-.:;<=>?@[\\]^_`{|}~".chars().map(|sign| format!("x{sign}y")).collect::<Vec<_>>();
    let mut names: Vec<&str> = each.iter().map(String::as_str).collect();
    names.push("!\"#$%&'()*+,-.:;<=>?@[\\]^_`{|}~");
    round_trip(ground, &names).await
}

async fn dots(ground: &Ground) -> Outcome {
    round_trip(ground, &["...", "....", ".hidden", "a.b.c", "a..b", "..a"]).await
}

async fn leading(ground: &Ground) -> Outcome {
    round_trip(
        ground,
        &[
            " leading space",
            "~leading tilde",
            "\rleading CR",
            "\nleading LF",
            "\tleading HT",
            "\x0bleading VT",
            ".leading dot",
            "-leading dash",
        ],
    )
    .await
}

async fn trailing(ground: &Ground) -> Outcome {
    round_trip(
        ground,
        &[
            "trailing space ",
            "trailing CR\r",
            "trailing LF\n",
            "trailing HT\t",
            "trailing VT\x0b",
            "trailing dot.",
            "trailing tilde~",
        ],
    )
    .await
}

async fn percent(ground: &Ground) -> Outcome {
    round_trip(ground, &["test%46.txt", "%", "%%", "100%", "%2F", "%252F", "a+b", "a b", "a%20b"]).await
}

async fn queries(ground: &Ground) -> Outcome {
    round_trip(
        ground,
        &[
            "a?b=c",
            "a#b",
            "a&b=c",
            "it's",
            "a' or name contains '",
            "<tag>&amp;",
            "{json}",
            "[0]",
            "null",
            "\"quoted\"",
            "back\\slash",
        ],
    )
    .await
}

async fn languages(ground: &Ground) -> Outcome {
    round_trip(ground, &["Hello, 世界", "Grüße", "šťastný", "файл", "ملف", "קובץ", "파일", "👩‍👩‍👧.txt", "I\u{307}"]).await
}

/// A name comes back in the form in which it went, or, where the provider says that it keeps another, is found under both.
async fn forms(ground: &Ground) -> Outcome {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    for name in [composed, decomposed] {
        let path = child(&ground.root, name)?;
        let bytes = content(7, 10);
        let entry = ground.try_write(&path, &bytes, None, None).await?;
        ground.holds(&path, &bytes).await?;
        ground.storage.remove_file(&causeway_storage::Node::of(path, &entry)).await?;
    }
    Ok(())
}

/// The characters that stand in for others are names of their own.
async fn replacements(ground: &Ground) -> Outcome {
    round_trip(
        ground,
        &[
            "a\u{ff0f}b",
            "\u{ff0e}",
            "\u{ff0e}\u{ff0e}",
            "\u{201b}\u{ff0f}",
            "\u{201b}x",
            "\u{2400}",
            "\u{ff3c}",
            "\u{2420}x",
        ],
    )
    .await
}

async fn long(ground: &Ground) -> Outcome {
    let longest = ground.features.longest_name_bytes.map_or(200, |bytes| (bytes as usize).min(200));
    let plain = "n".repeat(longest);
    let wide: String = "é".repeat(longest / 2);
    round_trip(ground, &[&plain, &wide]).await
}

async fn too_long(ground: &Ground) -> Outcome {
    let longest = ground.features.longest_name_bytes.unwrap_or(0) as usize;
    let path = child(&ground.root, &"n".repeat(longest + 1))?;
    let written = ground.try_write(&path, &content(1, 10), None, None).await;
    refused("writing a name that is too long", written, &[ErrorKind::Invalid])?;
    ground.lists(&ground.root, &[]).await
}

async fn nasty_path(ground: &Ground) -> Outcome {
    let mut path = ground.root.clone();
    for name in ["hello? sausage", "êé", "Hello, 世界", " \" ' @ < > & ? + ≠"] {
        path = child(&path, name)?;
        ground.storage.make_directory(&path).await?;
    }
    let file = child(&path, "z.txt")?;
    let bytes = content(8, 100);
    ground.write(&file, &bytes, None, None).await?;
    ground.lists(&path, &["z.txt"]).await?;
    ground.holds(&file, &bytes).await
}

async fn moved(ground: &Ground) -> Outcome {
    let bytes = content(9, 30);
    let mut node = ground.put("plain", &bytes).await?;
    for name in ["it's \"here\" & there", "100% ünïcode/".trim_end_matches('/'), " spaces ", "a+b?c#d", "plain"] {
        let to = child(&ground.root, name)?;
        let entry = ground.storage.move_to(&node, &to, None).await?;
        ensure!(entry.name == name, "{name:?} became {:?}", entry.name);
        ground.lists(&ground.root, &[name]).await?;
        ground.holds(&to, &bytes).await?;
        node = causeway_storage::Node::of(to, &entry);
    }
    Ok(())
}

async fn directories(ground: &Ground) -> Outcome {
    for name in [
        "it's \"here\"",
        "100%",
        " spaces ",
        "a+b?c#d",
        "Hello, 世界",
        ".hidden",
        "trailing dot.",
        "back\\slash",
        "ctl\u{1}",
    ] {
        let path = child(&ground.root, name)?;
        let made = ground.storage.make_directory(&path).await?;
        ensure!(made.name == name, "{name:?} was made as {:?}", made.name);
        let file = child(&path, name)?;
        let entry = ground.write(&file, &content(10, 10), None, None).await?;
        ground.lists(&path, &[name]).await?;
        ground.storage.remove_file(&causeway_storage::Node::of(file, &entry)).await?;
        ground.storage.remove_directory(&ground.node(&path).await?).await?;
        ground.gone(&path).await?;
    }
    Ok(())
}
