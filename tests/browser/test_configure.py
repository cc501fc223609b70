"""From a file to a study, in a browser: upload, see how it was read, correct it, choose, start."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect
from sites import (
    HOSTILE,
    PHONE,
    Visitors,
    fits,
    hostile_table,
    looked_at,
    serious_violations,
    shot,
    tab_to,
)

from storage import studies
from storage.connection import Storage
from topo_search.formats import format_name

IRIS = Path(__file__).parents[2] / "examples" / "iris.csv"
LARGE = 201 * 2**20  # Bytes; more than a service takes unless told otherwise.

# In cp1250, of which cp1252 is a good guess and a wrong one; "brak" stands for nothing.
AWKWARD = "Miasto;Cena;Klasa\n" + "".join(
    f"{('Łódź', 'Kraków', 'Śląsk')[row % 3]};"
    f"{'brak' if row % 9 == 0 else f'{row * 1.37:.2f}'.replace('.', ',')};"
    f"{('nie', 'tak')[row % 2]}\n"
    for row in range(60)
)
COLUMNS = 5000
UNSAFE = re.compile("[\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    path = tmp_path / "ceny.csv"
    path.write_bytes(AWKWARD.encode("cp1250"))
    return path


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A name as hostile as a file system allows.
    path = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=alert(1)>\u202evsc.csv"
    path.write_bytes(hostile_table(COLUMNS, rows=24))
    return path


def send(page: Page, path: Path) -> None:
    page.set_input_files("#file", path)
    page.wait_for_url("**/tables/*")


def ready(page: Page) -> None:
    """Wait until there is something to choose for a target."""
    expect(page.locator("#estimate")).not_to_be_empty()


def is_whole(page: Page, name: str) -> bool:
    """Tell whether a select is wide enough for each of its options."""
    whole = """(select) => {
        const style = getComputedStyle(select);
        const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
        const room = select.clientWidth - padding;
        const context = document.createElement("canvas").getContext("2d");
        context.font = style.font;
        return [...select.options].every((one) => context.measureText(one.text).width <= room);
    }"""
    return bool(page.locator(f"#{name}").evaluate(whole))


def column(page: Page, name: str) -> str:
    """Return what the page shows of one column."""
    return page.locator("#columns tbody tr").filter(has_text=name).inner_text()


def test_from_a_file_to_a_study(page: Page) -> None:
    shot(page, "start")
    send(page, IRIS)
    expect(page.locator("h1")).to_have_text("iris.csv")
    expect(page.locator("#summary")).to_have_text(
        "150 rows, 5 columns, separated by commas, utf-8, names in the first row."
    )
    expect(page.locator("#preview tbody tr")).to_have_count(8)
    expect(page.locator("#columns tbody tr")).to_have_count(5)
    distinct = page.locator("#columns td[data-label=Distinct]")
    expect(distinct).to_have_text(["35", "23", "43", "22", "3"])
    expect(page.locator("#target")).to_have_value("species")
    expect(page.locator("#target-help")).to_contain_text("This is a guess")
    ready(page)
    expect(page.locator("#task-said")).to_contain_text("3 classes apart: setosa, versicolor")
    expect(page.locator("#task-said")).to_contain_text(
        "120 rows to learn from, 30 kept for the final test."
    )
    expect(page.locator("#estimate")).to_contain_text("No machine is serving now")
    shot(page, "configure")

    page.get_by_label("Hidden layers, to").fill("2")
    page.get_by_label("mish").uncheck()
    page.locator("#limits > summary").click()
    expect(page.locator("fieldset[data-field=rare-levels] input").first).to_be_disabled()
    expect(page.get_by_text("No effect: it has no categorical columns.")).to_be_visible()
    residual = page.locator("fieldset[data-field=residual] label")
    expect(residual).to_have_text([" without", " with"])
    page.locator("#metric").select_option("balanced_accuracy")
    page.get_by_label("Leave out sepal_width").check()
    page.get_by_label("Trials").fill("7")
    page.locator("#advanced > summary").click()
    page.get_by_label("Name").fill("my flowers")
    shot(page, "configure-all")
    page.get_by_role("button", name="Start the search").click()
    page.wait_for_url("**/s/*")
    key = page.url.rpartition("/")[2]
    found = page.request.get(f"/v1/studies/{key}").json()
    assert (found["target"], found["metric"], found["name"]) == (
        "species",
        "balanced_accuracy",
        "my flowers",
    )
    assert found["budget"] == 7

    page.go_back()  # Nothing that was chosen is lost.
    page.wait_for_url("**/tables/*")
    ready(page)
    expect(page.get_by_label("Trials")).to_have_value("7")
    expect(page.get_by_label("Hidden layers, to")).to_have_value("2")
    expect(page.get_by_label("mish")).not_to_be_checked()
    expect(page.get_by_label("Leave out sepal_width")).to_be_checked()
    expect(page.locator("#metric")).to_have_value("balanced_accuracy")
    page.get_by_role("button", name="Start the search").click()
    expect(page.locator("#name-error")).to_contain_text("my flowers")


def test_an_awkward_table_is_corrected_in_the_preview(page: Page, awkward: Path) -> None:
    send(page, awkward)
    expect(page.locator("#preview")).to_contain_text("£ódŸ")  # The wrong guess.
    expect(page.locator("#columns tbody tr").nth(1)).to_contain_text("is categorical, not numeric")
    page.get_by_text("Not right? Read it otherwise").click()
    expect(page.locator("#separator option").first).to_have_text("semicolon (found)")
    expect(page.locator("#decimal option").first).to_have_text("comma (found)")
    expect(page.locator("#encoding")).to_have_attribute("placeholder", "cp1252 (found)")
    expect(page.locator("#decimal-help")).to_be_empty()  # Its label says it.
    page.get_by_label("Encoding").fill("cp1250")
    expect(page.locator("#preview")).to_contain_text("Łódź")
    page.get_by_label("Missing values").fill("brak")
    expect(page.locator("#columns tbody tr").nth(1)).not_to_contain_text("categorical, not numeric")
    expect(page.get_by_label("Read Cena as")).to_have_value("numeric")
    expect(page.locator("#columns tbody tr").nth(1)).to_contain_text("12 %")
    page.get_by_label("Read Miasto as").select_option("text")
    expect(page.locator("#reading-again")).to_have_text("Read.")

    page.get_by_label("Encoding").fill("klingon")  # What cannot be leaves the last that could.
    expect(page.locator("#reading-error")).to_contain_text("Received: 'klingon'")
    expect(page.locator("#preview")).to_contain_text("Łódź")
    shot(page, "configure-error")
    page.get_by_label("Encoding").fill("cp1250")
    expect(page.locator("#reading-error")).to_be_empty()
    page.get_by_label("Decimal sign").select_option(label="point, as 3.14")
    odd = "is read with the decimal sign ',', unlike the file's other numbers"
    expect(page.locator("#columns tbody tr").nth(1)).to_contain_text(odd)
    page.get_by_label("Decimal sign").select_option(label="comma, as 3,14")
    expect(page.locator("#columns tbody tr").nth(1)).not_to_contain_text(odd)
    page.get_by_label("Separator").select_option("|")
    expect(page.locator("#reading-error")).to_contain_text("separated by '|'")
    page.get_by_label("Separator").select_option(";")
    expect(page.locator("#reading-error")).to_be_empty()

    page.reload()
    expect(page.locator("#preview")).to_contain_text("Łódź")
    expect(page.get_by_label("Read Miasto as")).to_have_value("text")
    page.locator("#target").select_option("Cena")
    expect(page.locator("#task-said")).to_contain_text("It will predict a number.")
    expect(page.locator("#metric")).to_have_value("rmse")
    page.get_by_role("button", name="Back to what was found").click()
    expect(page.locator("#preview")).to_contain_text("£ódŸ")


def test_a_table_that_cannot_be_made_out_is_read_as_one_says(page: Page, tmp_path: Path) -> None:
    spaced = tmp_path / "spaced.txt"
    rows = "".join(f"{n * 1.5} {-999 if n % 9 == 0 else n % 4} {'xy'[n % 2]}\n" for n in range(60))
    spaced.write_text("length  count label\n" + rows.replace(" ", "  "))
    send(page, spaced)
    expect(page.locator("#reading-error")).to_contain_text("as with “Separator” ' '.")
    expect(page.get_by_role("button", name="Start the search")).to_be_hidden()
    assert serious_violations(page) == []
    expect(page.locator("#separator option").first).to_have_text("–")
    expect(page.get_by_role("button", name="Back to what was found")).to_be_hidden()
    shot(page, "configure-unread")
    page.get_by_label("Separator").select_option(" ")
    expect(page.locator("#columns tbody tr")).to_have_count(3)
    expect(page.locator("#reading-error")).to_be_empty()
    expect(page.locator("#columns")).to_contain_text("say so with “Missing values” -999")
    page.get_by_label("Missing values").fill("-999")
    expect(page.locator("#columns")).not_to_contain_text("Missing values")
    ready(page)
    page.locator("#target").select_option("label")
    ready(page)
    expect(page.get_by_role("button", name="Start the search")).to_be_visible()


def test_what_is_doubtful_of_a_table_is_seen_and_its_first_row_taken_for_values(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "doubtful.csv"
    lines = [f"c{n:03},9,{n * 37 % 101},{n % 20 == 0:d},{n % 20 == 0}" for n in range(100)]
    path.write_text("\n".join(["code,unit,size,flag,outcome", *lines]))
    send(page, path)
    ready(page)
    page.locator("#target").select_option("outcome")
    told = page.locator("#target-warnings")
    expect(told).to_contain_text("Class 'False' has 95 of the 100 rows")
    expect(told).to_contain_text("Column 'flag' alone gives 'outcome' away")
    expect(page.locator("#columns tbody tr").nth(0)).to_contain_text("only tells rows apart")
    expect(page.locator("#columns tbody tr").nth(1)).to_contain_text("holds one value only")
    for name in ("code", "unit"):
        expect(page.get_by_label(f"Leave out {name}")).to_be_checked()
        expect(page.get_by_label(f"Leave out {name}")).to_be_disabled()
    expect(page.locator("#summary")).to_contain_text("100 rows")
    looked_at(page, "configure-doubtful")
    page.locator("#otherwise > summary").click()
    page.get_by_label("Header").select_option("no names")
    expect(page.locator("#summary")).to_contain_text("101 rows, 5 columns")
    expect(page.locator("#summary")).to_contain_text("no row of names")
    expect(page.locator("#preview th bdi")).to_have_text([f"column_{n}" for n in range(1, 6)])
    expect(page.locator("#preview tbody tr").first).to_contain_text("outcome")


def test_an_example_and_choices_that_do_not_fit(page: Page) -> None:
    page.get_by_role("button", name="Diabetes").click()
    page.wait_for_url("**/tables/*")
    ready(page)
    expect(page.locator("#task-said")).to_contain_text("It will predict a number.")
    page.get_by_text("Depth alone").click()
    expect(page.get_by_label("Activation", exact=True)).to_have_value("relu")
    page.get_by_label("Hidden layers, from").fill("9")
    page.get_by_label("Hidden layers, to").fill("3")
    page.get_by_role("button", name="Start the search").click()
    wrong = page.locator("fieldset[data-field=depth] .field-error")
    expect(wrong).to_have_text("Expected depth as low:high. Received: 9:3. Write 3:9.")
    expect(page.get_by_label("Hidden layers, from")).to_be_focused()
    shot(page, "configure-refused")
    page.get_by_role("button", name="Hidden layers: as offered").click()
    page.get_by_label("Trials").fill("0")
    page.get_by_role("button", name="Start the search").click()
    expect(page.locator("#trials-error")).to_be_visible()
    expect(page.get_by_label("Trials")).to_be_focused()
    page.get_by_label("Trials").fill("3")
    page.locator("#advanced > summary").click()
    page.get_by_label("Test share").fill("1.5")
    expect(page.locator("#test_share-error")).to_contain_text("between 0 and 1. Received: 1.5")
    page.get_by_label("Test share").fill("0.3")
    expect(page.locator("#test_share-error")).not_to_be_visible()
    page.get_by_label("Minutes, at most").fill("0.5")
    page.get_by_role("button", name="Start the search").click()
    page.wait_for_url("**/s/*")
    found = page.request.get(f"/v1/studies/{page.url.rpartition('/')[2]}").json()
    assert (found["budget"], found["seconds"], found["task"]) == (3, 30, "regression")


def test_test_rows_come_from_another_file(page: Page, tmp_path: Path) -> None:
    header, *lines = IRIS.read_text().splitlines()
    wrong, right = tmp_path / "wrong.csv", tmp_path / "test rows.csv"
    wrong.write_text("a,b\n1,2\n3,4\n")
    right.write_text("\n".join([header, *lines[::7]]))
    send(page, IRIS)
    ready(page)
    page.locator("#advanced > summary").click()
    page.get_by_label("Test rows from another file").set_input_files(wrong)
    expect(page.locator("#test-table")).to_contain_text("wrong.csv")
    expect(page.locator("#test_file-error")).to_contain_text("Expected")
    looked_at(page, "configure-test-file-refused")
    page.get_by_role("button", name="Leave it out").click()
    expect(page.get_by_label("Test rows from another file")).to_be_focused()
    expect(page.locator("#test_file-error")).not_to_be_visible()
    page.get_by_label("Test rows from another file").set_input_files(right)
    expect(page.locator("#test-table")).to_contain_text("test rows.csv")
    expect(page.locator("#task-said")).to_contain_text(
        "150 rows to learn from, 22 kept for the final test."
    )
    expect(page.get_by_label("Test share")).to_be_disabled()
    page.get_by_label("Tags").fill("gpu, big")
    looked_at(page, "configure-test-file")
    beside = page.locator("#test_share").bounding_box()
    assert beside is not None
    assert page.locator("#test-table").bounding_box() == beside | {
        "x": pytest.approx(beside["x"] + beside["width"] + 20, abs=1)
    }
    page.reload()  # What was chosen is kept.
    ready(page)
    expect(page.locator("#test-table")).to_contain_text("test rows.csv")
    page.get_by_role("button", name="Start the search").click()
    page.wait_for_url("**/s/*")
    expect(page.locator("#unserved")).to_be_visible()


def test_all_that_is_chosen_is_the_studys(page: Page, storage: Storage, tmp_path: Path) -> None:
    table = tmp_path / "grades.csv"
    rows = (f"{n % 7};{n % 5},5;{'nil' if n % 9 == 0 else n % 4};{n};{n % 3}" for n in range(90))
    table.write_text("\n".join(["# made by hand", "__proto__;length;count;id;grade", *rows]))
    send(page, table)
    page.get_by_text("Not right? Read it otherwise").click()
    page.get_by_label("Separator").select_option(";")
    page.get_by_label("Decimal sign").select_option(",")
    page.get_by_label("Encoding").fill("latin-1")
    page.locator("#header").select_option("true")
    page.get_by_label("Lines to skip").fill("1")
    page.get_by_label("Missing values").fill("nil")
    expect(page.locator("#columns tbody tr")).to_have_count(5)
    expect(page.locator("#reading-again")).to_have_text("Read.")
    page.get_by_label("Read __proto__ as").select_option("categorical")
    page.get_by_label("Read id as").select_option("numeric")
    expect(page.get_by_label("Leave out id")).to_be_enabled()  # It was an identifier.
    page.get_by_label("Leave out length").check()
    page.locator("#target").select_option("grade")
    ready(page)
    page.locator("#task").select_option("multiclass")
    page.locator("#metric").select_option("macro_f1")
    page.locator("input[name=space][value=layers]").check()
    page.locator("fieldset[data-field=depth] input").last.fill("4")
    page.get_by_label("Trials").fill("11")
    page.get_by_label("Minutes, at most").fill("2.5")
    page.locator("#advanced > summary").click()
    chosen = {"test_share": "0.3", "seed": "5", "epochs": "17", "name": "by hand", "tags": "a, b"}
    for name, value in chosen.items():
        page.locator(f"#{name}").fill(value)
    for name, value in (("validation", "cv"), ("sampler", "random"), ("pruner", "none")):
        page.locator(f"#{name}").select_option(value)
    page.get_by_role("button", name="Start the search").click()
    page.wait_for_url("**/s/*")
    row = studies.by_key(storage, page.url.rpartition("/")[2])
    plan = row.plan
    assert (row.trials, row.seconds, row.name, list(row.tags)) == (11, 150, "by hand", ["a", "b"])
    names = ("target", "task", "metric", "drop", "limits", "epochs", "validation", "pruner")
    assert [plan[name] for name in names] == [
        *("grade", "multiclass", "macro_f1", ["length"], {"depth": "1:4"}, 17, "cv", "none"),
    ]
    assert (plan["space"]["name"], plan["sampler"], plan["seed"]) == ("layers", "random", 5)
    assert plan["test_share"] == 0.3
    read = plan["reading"]
    kinds = {rule["name"]: rule["kind"] for rule in read["columns"]}
    assert (kinds["__proto__"], kinds["id"]) == ("categorical", "numeric")
    written = ("separator", "decimal", "encoding", "header", "skip")
    assert [read[name] for name in written] == [";", ",", "latin-1", True, 1]
    assert "nil" in read["missing"]


def test_what_is_no_table_is_said_on_the_start_page(page: Page, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF" + bytes(1000))
    page.set_input_files("#file", program)
    expect(page.get_by_role("alert").first).to_contain_text("Received a program. Save the table")
    expect(page.get_by_text("Drop a table here")).to_be_visible()
    empty = tmp_path / "empty.csv"
    empty.touch()
    page.set_input_files("#file", empty)
    expect(page.get_by_role("alert").first).to_contain_text("Received an empty file")
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(LARGE)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.set_input_files("#file", large)
    expect(page.get_by_role("alert").first).to_have_text(
        "Expected a table of at most 200 MiB. Received 201 MiB. Leave out rows or columns."
    )
    assert "POST" not in sent
    shot(page, "start-error")


def test_an_upload_can_be_stopped_and_may_break_off(page: Page) -> None:
    held: list[Route] = []
    page.route("**/v1/uploads*", lambda route: held.append(route))
    page.set_input_files("#file", IRIS)
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Iris"))).to_be_disabled()
    shot(page, "start-sending")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Drop a table here")).to_be_visible()
    expect(page.locator("#file")).to_be_focused()
    page.unroute("**/v1/uploads*")
    page.route("**/v1/uploads*", lambda route: route.abort())
    page.set_input_files("#file", IRIS)
    expect(page.get_by_role("alert").first).to_contain_text("The connection broke off")
    page.unroute("**/v1/uploads*")
    send(page, IRIS)


def test_the_bar_follows_what_is_sent_then_waits_for_what_is_read(page: Page) -> None:
    seen: list[str | None] = []
    page.expose_function("see", lambda bar: seen.append(bar["now"] or bar["state"]))
    page.evaluate(
        """() => {
            const bar = document.querySelector("[role=progressbar]");
            const now = () => bar.getAttribute("aria-valuenow");
            const look = () => see({ now: now(), state: bar.className });
            new MutationObserver(look).observe(bar, { attributes: true });
        }"""
    )
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2**20}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    data = b"a,b\n" + b"1.2345678,x\n" * 200_000
    page.set_input_files("#file", {"name": "t.csv", "mimeType": "text/csv", "buffer": data})
    expect(page.locator("#sent")).to_contain_text(re.compile(r"^[\d.]+ (KiB|MiB) of 2\.3 MiB$"))
    page.wait_for_url("**/tables/*")
    assert seen[-1] == "progress unknown"  # Nobody knows how long reading takes.
    shares = [int(share) for share in seen if share and share.isdigit()]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 100
    assert len(set(shares)) > 4


def test_a_file_is_dropped(page: Page) -> None:
    text = IRIS.read_text()
    page.evaluate(
        """(text) => {
            const data = new DataTransfer();
            data.items.add(new File([text], "dropped.csv"));
            const about = { dataTransfer: data, bubbles: true, cancelable: true };
            document.getElementById("upload").dispatchEvent(new DragEvent("drop", about));
        }""",
        text,
    )
    page.wait_for_url("**/tables/*")
    expect(page.locator("h1")).to_have_text("dropped.csv")


def test_a_study_is_opened_by_its_key_or_address(page: Page) -> None:
    uploaded = page.request.post("/v1/uploads?name=iris.csv", data=IRIS.read_bytes()).json()
    wanted = {"upload": uploaded["upload"], "target": "species"}
    made = page.request.post("/v1/studies", data=wanted).json()
    box = page.get_by_label("The study's key, or its private address")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for none in (" ", f"{page.url}s/", "https://example.org/s/?x"):
        box.fill("")
        page.evaluate("document.getElementById('key-error').textContent = ''")
        box.fill(none)
        box.press("Enter")
        expect(page.locator("#key-error")).to_have_text(
            "Expected a key or a private address. Received none."
        )
        expect(box).to_have_attribute("aria-invalid", "true")
    assert asked == []
    box.fill("wrong")
    box.press("Enter")
    expect(page.locator("#key-error")).to_contain_text("No study has this key.")
    box.fill(f"https://example.org/s/{made['key']}")
    box.press("Enter")
    page.wait_for_url(f"**/s/{made['key']}")


def test_a_table_that_is_gone_is_said_to_be(visitors: Visitors) -> None:
    page = visitors.open("/tables/forged")
    visitors.wrong.clear()  # The page itself is the refusal.
    expect(page.locator("main")).to_contain_text("Upload it again")


def test_with_the_keyboard_alone(page: Page) -> None:
    # Waited for before the keys on the way there: that takes the browser a moment to know.
    with page.expect_file_chooser() as chooser:
        tab_to(page, "#file")
        page.keyboard.press("Enter")
    chooser.value.set_files(IRIS)
    page.wait_for_url("**/tables/*")
    ready(page)
    tab_to(page, "#otherwise > summary")
    page.keyboard.press("Enter")
    tab_to(page, "#skip")
    tab_to(page, "[aria-label='Leave out sepal_length']")
    page.keyboard.press("Space")
    expect(page.get_by_label("Leave out sepal_length")).to_be_checked()
    tab_to(page, "#target")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#target")).to_have_value("petal_width")
    expect(page.locator("#task-said")).to_contain_text("It will predict a number.")
    tab_to(page, "[name=space]")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[name=space][value=layers]")).to_be_checked()
    tab_to(page, "#trials")
    page.keyboard.type("3")
    page.keyboard.press("Enter")  # Starts nothing: only the button does.
    assert "/tables/" in page.url
    tab_to(page, "#start")
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/*")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, 1100])
def test_no_serious_violation_of_accessibility(
    visitors: Visitors, awkward: Path, width: int, dark: bool
) -> None:
    light = "dark" if dark else "light"
    page = visitors.open(width=width, dark=dark)
    assert serious_violations(page) == []
    assert fits(page)
    shot(page, f"start-{width}-{light}")
    send(page, awkward)
    ready(page)
    assert serious_violations(page) == []
    for folded in ("otherwise", "limits", "advanced"):
        page.locator(f"#{folded} > summary").click()
    for name in ("sampler", "pruner", "validation", "header"):
        assert is_whole(page, name), f"what may be chosen as {name} is clipped"
    widths = "(all) => all.map((one) => one.offsetWidth)"
    assert len(set(page.locator("#trials, #timeout").evaluate_all(widths))) == 1
    page.get_by_label("Encoding").fill("klingon")
    expect(page.locator("#reading-error")).not_to_be_empty()
    page.get_by_label("Trials").fill("0")
    page.get_by_role("button", name="Start the search").click()
    expect(page.locator("#trials-error")).to_be_visible()
    assert serious_violations(page) == []
    assert fits(page)
    shot(page, f"configure-{width}-{light}")


def test_a_hostile_table_is_shown_harmlessly(visitors: Visitors, hostile: Path) -> None:
    page = visitors.open(width=PHONE)
    send(page, hostile)
    assert_harmless(page, step=20)
    ready(page)
    expect(page.locator("#task-said")).to_contain_text("<b>yes</b>")
    shot(page, f"configure-hostile-{PHONE}")
    wide = visitors.open(urlsplit(page.url).path, width=1100)
    assert_harmless(wide, step=100)
    shot(wide, "configure-hostile-1100")


def test_names_are_as_harmless_in_the_browser_as_elsewhere(page: Page) -> None:
    changed = page.evaluate(
        """() => {
            const found = [];
            for (let code = 0; code <= 0x10ffff; code += 1) {
                const sign = String.fromCodePoint(code);
                if (harmless(sign) !== sign) found.push(code);
            }
            return found;
        }"""
    )
    codes = [code for code in range(0x110000) if format_name(chr(code)) != chr(code)]
    assert changed == codes
    text = "a\u202e\u202eb 👩‍👩‍👧"
    assert page.evaluate("(text) => harmless(text)", text) == format_name(text) == "a�b 👩‍👩‍👧"


def told(page: Page, attribute: str) -> list[str]:
    """Return what all elements say in one of their attributes."""
    found = page.locator(f"[{attribute}]")
    said = "(all, name) => all.map((one) => one.getAttribute(name))"
    return list(found.evaluate_all(said, attribute))


def assert_harmless(page: Page, *, step: int) -> None:
    """Assert that the hostile table is shown as it is, so many columns at a time."""
    rows = page.locator("#columns tbody tr")
    expect(rows).to_have_count(step)
    shown = page.locator("#columns tbody th bdi").all_inner_texts()
    names = [format_name(name, len(name)) for name in HOSTILE]
    assert "a �live� name" in names
    assert [name for name in names if name not in shown] == []
    heads = page.locator("#preview th bdi")
    assert [name for name in names if name not in heads.all_inner_texts()] == []
    expect(page.get_by_label("Leave out a �live� name")).to_have_count(1)
    expect(page.locator("#target option").filter(has_text="a �live� name")).to_have_count(1)
    assert UNSAFE.findall(page.locator("body").inner_text()) == []
    assert UNSAFE.findall(" ".join(told(page, "title") + told(page, "aria-label"))) == []
    assert page.locator("main img, main script:not([type])").count() == 0
    expect(page.locator("h1")).to_contain_text("<img src=x onerror=alert(1)>")
    page.get_by_role("button", name=f"Show {step} more of {COLUMNS - step:,}").click()
    expect(rows).to_have_count(2 * step)
    expect(page.get_by_label(f"Read measure {step} as")).to_be_focused()
    page.get_by_label("Find columns").fill("MEASURE 4321")
    expect(rows).to_have_count(1)
    page.get_by_label("Find columns").fill("")
    assert fits(page)


def test_nearly_nothing_is_not_none_and_sums_can_be_removed(page: Page) -> None:
    lines = [
        f"{'' if n == 7 else n % 31},{n % 3 if n in (3, 4) else ''},{n % 5 / 2},c{n % 9},{n % 2}"
        for n in range(3000)
    ]
    lines[-1] = "9,,0.5,Total,1"
    data = "\n".join(["gap,rare,size,place,y", *lines]).encode()
    page.set_input_files("#file", {"name": "t.csv", "mimeType": "text/csv", "buffer": data})
    page.wait_for_url("**/tables/*")
    ready(page)
    missing = page.locator("#columns td[data-label=Missing]")
    expect(missing).to_have_text(["0.03 %", "99.9 %", "0", "0", "0"])
    expect(page.locator("#columns .warning")).to_contain_text(
        ["If rows sum up others (1), remove them in the file and upload it again."]
    )


def test_nothing_is_started_for_a_target_that_cannot_be(page: Page) -> None:
    lines = [f"{n},{n % 7},name {n % 40},{'xy'[n % 2]}" for n in range(60)]
    data = "\n".join(["n,size,place,y", *lines]).encode()
    page.set_input_files("#file", {"name": "t.csv", "mimeType": "text/csv", "buffer": data})
    page.wait_for_url("**/tables/*")
    ready(page)
    start = page.get_by_role("button", name="Start the search")
    expect(start).to_be_enabled()
    page.locator("#target").select_option("place")
    expect(page.locator("#target-error")).to_contain_text("too many to be classes")
    expect(page.locator("#target")).to_have_attribute("aria-invalid", "true")
    expect(start).to_be_disabled()
    expect(page.locator("#starting")).to_have_text("Not yet: see the field that is marked.")
    assert "--" not in page.locator("#target-error").inner_text()
    looked_at(page, "configure-target-refused")
    page.locator("#target").select_option("y")
    expect(page.locator("#target-error")).to_be_hidden()
    expect(start).to_be_enabled()
    expect(page.locator("#starting")).to_be_empty()


def test_a_limit_that_is_no_time_starts_nothing(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Iris")).click()
    page.wait_for_url("**/tables/*")
    ready(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    minutes, wrong = page.get_by_label("Minutes, at most"), page.locator("#timeout-error")
    start = page.get_by_role("button", name="Start the search")
    for typed in ("1e", "0.05", "0"):
        minutes.fill("")
        minutes.press_sequentially(typed)
        expect(page.locator("#estimate")).to_be_empty()
        start.click()
        expect(wrong).to_be_visible()
        expect(minutes).to_be_focused()
        expect(minutes).to_have_attribute("aria-invalid", "true")
    looked_at(page, "configure-no-time")
    minutes.evaluate("(field) => { field.type = 'text'; }")  # As in a browser that lets it be.
    minutes.fill("10m")
    start.click()
    expect(wrong).to_have_text("Expected a number. Received: 10m.")
    expect(start).to_be_enabled()
    assert not [url for url in asked if url.endswith("/v1/studies")]


def test_nothing_is_started_before_it_is_said_what_to_predict(page: Page) -> None:
    data = b"a,b\n1,x\n2,y\n"
    page.set_input_files("#file", {"name": "t.csv", "mimeType": "text/csv", "buffer": data})
    page.wait_for_url("**/tables/*")
    expect(page.locator("#target-help")).to_have_text("No column suggests itself.")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Start the search").click()
    expect(page.locator("#target-error")).to_be_visible()
    expect(page.locator("#target")).to_be_focused()
    expect(page.locator("#target")).to_have_attribute("aria-invalid", "true")
    assert not [url for url in asked if url.endswith("/v1/studies")]
    looked_at(page, "configure-no-target")
    page.locator("#target").select_option("a")
    expect(page.locator("#target-help")).to_be_empty()


def test_twenty_columns_are_seen_whole_and_more_scroll(page: Page) -> None:
    for columns, scrolls in ((20, False), (21, True)):
        names = [f"c{n}" for n in range(columns - 2)]
        rows = [
            ",".join([f"2024-01-{n + 1:02}", *("7" if n % 3 else "5" for _ in names), "xy"[n % 2]])
            for n in range(30)
        ]
        head = ",".join(["day", *names, "y"])
        data = "\n".join([head, *rows]).encode()
        page.goto("/")
        page.set_input_files("#file", {"name": "t.csv", "mimeType": "text/csv", "buffer": data})
        page.wait_for_url("**/tables/*")
        ready(page)
        expect(page.locator("#columns tbody tr")).to_have_count(columns)
        region = page.get_by_role("region", name="Columns", exact=True)
        height = region.evaluate("(it) => it.scrollHeight - it.clientHeight")
        assert (height > 1) == scrolls
        # The rows are in an order of which it is warned in words of the page.
        said = page.locator("#target-warnings")
        expect(said).to_contain_text("set the latest aside under “Test rows from another file”.")
    shot(page, "configure-columns")
