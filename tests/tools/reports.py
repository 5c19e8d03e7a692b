"""Reports of the evaluation commands → Plotly figures and Markdown tables, for the documents.

The reports are what `python -m atmoe evaluate… --json` prints. Every figure has a table beside it
that says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.theme import BLUE, SCALE, VERMILION
from atmoe.wording import fraction

NAMES = {
    "base": "base model alone",
    "uniform": "uniform plan",
    "router": "**the router's plan**",
    "label": "all three label experts, at the router's gain",
    "lora": "one LoRA of the same total rank",
    "xlora": "X-LoRA (PEFT) over the same experts",
    "arrow": "Arrow (PEFT) over the same experts",
}


def routing_figure(report: Mapping, group: str = "task") -> go.Figure:
    """Instruction's task × layer: what the group received, and the right expert inside it."""
    tasks = list(report["by_task"])
    names = list(report["load"])
    groups = list(report["group_shares"])
    shares = [
        [100 * layer[groups.index(group)] for layer in report["by_task"][t]["group_shares"]]
        for t in tasks
    ]
    inside = [
        [
            100 * layer[names.index(f"{group}/{t}")]
            for layer in report["by_task"][t]["expert_shares"]
        ]
        for t in tasks
    ]
    figure = make_subplots(
        2,
        1,
        shared_xaxes=True,
        vertical_spacing=0.14,
        subplot_titles=(
            f"Share of the routing weight that {group} received, by layer (%)",
            f"Share of {group} that the expert of the instruction's own {group} received, "
            "by layer (%)",
        ),
    )
    for row, values in enumerate((shares, inside), 1):
        figure.add_heatmap(
            z=values,
            y=tasks,
            x=list(range(len(values[0]))),
            colorscale=SCALE,
            zmin=0,
            zmax=100,
            row=row,
            col=1,
            showscale=row == 1,
            colorbar={"title": "%", "len": 1.0},
        )
    figure.update_yaxes(autorange="reversed", title_text="instruction asks for")
    figure.update_xaxes(title_text="layer", row=2, col=1)
    return _plain(figure, 620)


def control_figure(report: Mapping, group: str) -> go.Figure:
    """Dose and response of one group: mean over prompts, and the band between the quartiles."""
    by_dose = report["groups"][group]
    ways = {"group": f"{group}'s share of the layer", "expert": f"the expert's share of {group}"}
    if all("mean" in part for part in by_dose.values()):
        # Prompts differ by far more than doses do, so each is drawn against its own start.
        panels = [
            (
                ways[by],
                "log p of the reference, change since 0%",
                [("right expert", _since_start(part), BLUE)],
            )
            for by, part in by_dose.items()
        ]
    else:
        experts = list(dict.fromkeys(key.partition(":")[2] for key in by_dose))
        panels = [
            (
                ways[by],
                title,
                [
                    (expert, by_dose[f"{by}:{expert}"][name], colour)
                    for expert, colour in zip(experts, (BLUE, VERMILION))
                ],
            )
            for name, title in (
                ("grade", "reading grade (Flesch–Kincaid)"),
                ("second_person", "share of “you”, “your” in words"),
            )
            for by in ways
        ]
    figure = make_subplots(
        (len(panels) + 1) // 2, 2, horizontal_spacing=0.12, vertical_spacing=0.16
    )
    doses = [100 * d for d in report["doses"]]
    for place, (dose, title, lines) in enumerate(panels):
        at = {"row": place // 2 + 1, "col": place % 2 + 1}
        for name, part, colour in lines:
            low, high = zip(*part["quartiles"])
            figure.add_scatter(
                x=doses + doses[::-1],
                y=[*high, *low[::-1]],
                fill="toself",
                fillcolor=colour,
                opacity=0.18,
                mode="lines",
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                **at,
            )
            figure.add_scatter(
                x=doses,
                y=part["mean"],
                mode="lines+markers",
                name=name,
                line={"color": colour},
                marker={"symbol": "circle" if colour == BLUE else "diamond", "size": 8},
                showlegend=place == 0,
                **at,
            )
        figure.update_xaxes(title_text=f"{dose} (%)", tickvals=doses, **at)
        figure.update_yaxes(title_text=title, **at)
    return _plain(figure, 340 * ((len(panels) + 1) // 2) + 60)


def load_figure(crowds: Sequence[Mapping]) -> go.Figure:
    """The page's memory while a crowd asks, and after it has left."""
    figure = go.Figure()
    for told, color, dash in zip(crowds, (BLUE, VERMILION), ("solid", "dash")):
        memory = told["mb"]["each_second"]
        figure.add_scatter(
            x=list(range(len(memory))),
            y=memory,
            name=f"{told['people']} people",
            line={"color": color, "dash": dash, "width": 3},
        )
    asking = f"they ask for {crowds[0]['seconds']:g}, wait for what is under way, and leave"
    figure.update_xaxes(title_text=f"seconds since they came; {asking}")
    figure.update_yaxes(title_text="MB more than before", zeroline=True, zerolinecolor="black")
    return _plain(figure, 420)


def baseline_table(report: Mapping) -> str:
    """Markdown: every way of mixing with its interval and its difference from the router's plan.

    And each task.
    """
    nll = report["nll"]
    tasks = list(nll["router"]["tasks"])
    head = ["", "macro", "95% interval", "minus router", "macro over specialties", *tasks]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name in sorted(nll, key=lambda n: -nll[n]["macro"]):
        row = nll[name]
        way, _, strength = name.partition(" at ")
        group = way.removesuffix("_expert")
        title = NAMES.get(way, f"the label's {group} expert alone")
        if strength:
            title = f"{title.strip('*')} at strength {strength}"
        difference = ""
        if "minus_router" in row:
            difference = _between(row["minus_router"]["interval"], "+")
        cells = [
            title,
            f"{row['macro']:.3f}",
            _between(row["interval"]),
            difference,
            f"{row['macro_specialties']:.3f}",
        ]
        lines.append("| " + " | ".join(cells + [f"{row['tasks'][t]:.3f}" for t in tasks]) + " |")
    return "\n".join(lines)


def control_table(report: Mapping) -> str:
    """Markdown: dose by dose, with rank correlation and the fraction of monotone prompts."""
    lines = [
        "| group | dose | property | "
        + " | ".join(f"{d:.0%}" for d in report["doses"])
        + " | Spearman, median | monotone |",
        "| --- | --- | --- |" + " ---: |" * (len(report["doses"]) + 2),
    ]
    for group, doses in report["groups"].items():
        for dose, measured in doses.items():
            by, _, expert = dose.partition(":")
            what = f"{group}'s share" if by == "group" else "expert's share inside"
            properties = measured
            if "mean" in measured:
                properties = {"log-probability of the reference": measured}
            for name, part in properties.items():
                form = ".1%" if name == "second_person" else ".3f" if "log" in name else ".1f"
                mean = " | ".join(format(value, form) for value in part["mean"])
                label = name.replace("_", " ") + (f", {expert}" if expert else "")
                lines.append(
                    f"| {group} | {what} | {label} | {mean} | {part['median_spearman']:+.2f} "
                    f"| {part['monotone']:.0%} |"
                )
    return "\n".join(lines)


def band_table(report: Mapping) -> str:
    """Markdown: agreement, entropy and loss by layer band."""
    groups = list(report["agreement"])
    lines = [
        "| layers | "
        + " | ".join(f"agreement, {g}" for g in groups)
        + " | entropy of groups | "
        + " | ".join(f"entropy in {g}" for g in groups)
        + " | loss with the average plan here |",
        "| --- |" + " ---: |" * (2 * len(groups) + 2),
    ]
    for band, row in report["bands"].items():
        if band == "all":
            cells = [
                "all",
                *(f"{report['agreement'][g]:.1%}" for g in groups),
                "",
                *("" for _ in groups),
            ]
        else:
            cells = [
                f"{band} ({row['layers']})",
                *(f"{row['agreement'][g]:.1%}" for g in groups),
                f"{row['group_entropy']:.2f}",
                *(f"{row['expert_entropy'].get(g, 0):.2f}" for g in groups),
            ]
        loss = row["loss_with_average_plan"]
        lines.append(
            "| " + " | ".join([*cells, f"{loss:.3f} ({loss - report['loss']:+.3f})"]) + " |"
        )
    return "\n".join(lines)


def routing_sentences(report: Mapping) -> str:
    """Markdown: agreement, two needs and balance."""
    two, shares, load = report["two_needs"], report["group_shares"], report["load"]
    least, most = min(load, key=load.__getitem__), max(load, key=load.__getitem__)
    agreement = ", ".join(f"{group} {share:.1%}" for group, share in report["agreement"].items())
    sentences = [
        f"{report['instructions']} instructions in wordings never trained on: averaged over "
        f"layers, the largest in-group share fell on the labelled expert for {agreement}."
    ]
    # reports until 30 November 2026 do not tell these apart
    for group, read in report.get("reading", {}).items():
        sentences.append(
            f"Of {read['labels']} labels of {group}, {read['right_taking_part']:.1%} were read and "
            f"the group took part, {read['right_absent']:.1%} were read but the group took no part "
            f"and {read['wrong']:.1%} were misread."
        )
    doubted = [
        f"{group} in {told['share']:.1%}, of which it was wrong in {fraction(told['wrong'])}, else "
        f"in {fraction(told['wrong_else'])}"
        for group, told in report.get("doubt", {}).items()
    ]
    if doubted:
        sentences.append(f"Where a group took part, the router doubted {'; '.join(doubted)}.")
    if two["instructions"]:
        sentences.append(
            f"{two['instructions']} with two needs in one instruction: both were the two largest "
            f"in {two['both_largest']:.1%}, each above twice its uniform share in "
            f"{two['both_above_twice_uniform']:.1%}, both at once in {two['both']:.1%}."
        )
    by_group = ", ".join(
        f"{group} {low:.0%} to {high:.0%} (mean {mean:.0%})"
        for group, (low, mean, high) in shares.items()
    )
    sentences.append(
        "Share of the routing weight by group, mean over instructions, least and most over layers: "
        f"{by_group}."
    )
    sentences.append(
        f"By expert, from {least} {load[least]:.1%} to {most} {load[most]:.1%}; entropy "
        f"{report['load_entropy']:.2f} of that of equal shares."
    )
    return "\n".join(sentences)


def strength_table(report: Mapping) -> str:
    """Markdown: both measures at each strength.

    And how many answers are beyond the range of strength 1.
    """
    lines = [
        "| strength | repeated trigrams, median (quartiles) | above the range of strength 1 "
        "| mean log-probability, median (quartiles) | below its range |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in report["by_strength"]:
        cells = [f"{row['strength']:g}"]
        for measure, form in (("repeated", ".1%"), ("logp", ".2f")):
            numbers = row[measure]
            low, high = (_defined(number, form) for number in numbers["quartiles"])
            cells += [f"{_defined(numbers['median'], form)} ({low} to {high})"]
            cells += [_defined(numbers["outside"], ".0%")]
        lines.append(f"| {' | '.join(cells)} |")
    low, high = (_defined(number, ".1%") for number in report["range"]["repeated"])
    least, most = (_defined(number, ".2f") for number in report["range"]["logp"])
    sampling = report["sampling"]
    leaves = (
        "at no measured strength above 1"
        if report["leaves"] is None
        else f"from strength {report['leaves']:g} on"
    )
    note = (
        f"{report['prompts']} questions, answers of at most {sampling['max_new_tokens']} tokens, "
        f"temperature {sampling['temperature']:g}, {report['dtype']}, {report['date']}. Range of "
        f"strength 1, from its 5% to its 95% quantile: repeated trigrams {low} to {high}, "
        f"mean log-probability {least} to {most}. The median answer repeats more than that "
        f"{leaves}."
    )
    return "\n".join([*lines, "", note])


def faithfulness_table(report: Mapping) -> str:
    """Markdown: what was measured of the weights as an explanation."""
    rows = []
    for lens, by_kind in report["kendall"].items():
        for kind, tau in by_kind.items():
            what = f"Kendall's τ-b of {lens} and effect, {kind}s, pooled"
            rows.append((what, _defined(tau, "+.2f")))
    for group, share in report["top_expert_agrees"].items():
        where = "all groups" if group == "all" else group
        what = f"the expert with most weight is the one whose removal costs most, {where}"
        rows.append((what, f"{share:.0%}"))
    if several := report.get("among_several"):
        what = "the same, where several experts of a group have weight"
        rows.append((what, f"{several['agree']} of {several['of']}"))
    sane = report["sanity"]
    comprehensiveness = _defined(report["comprehensiveness"], ".2f")
    sufficiency = _defined(report["sufficiency"], ".2f")
    verdicts, shuffled = (
        ", ".join(f"“{level}” {count}" for level, count in sorted(report[name].items()))
        for name in ("verdicts", "verdicts_shuffled")
    )
    shapley = report["kendall_shapley"]
    rows += [
        (
            "Kendall's τ-b with a group's exact Shapley value: weight · contribution · effect",
            " · ".join(_defined(tau, "+.2f") for tau in shapley.values()),
        ),
        ("experts that take part, mean", f"{report['team_size']:.1f}"),
        (
            "comprehensiveness · sufficiency, 1 = as good as the best order tried",
            f"{comprehensiveness} · {sufficiency}",
        ),
        (
            f"deletion by weight, percentile among {report['random_orders']} random orders",
            _defined(report["deletion_percentile"], ".0f"),
        ),
        (
            "another prompt's plan: its weights explain worse · the answer is less likely",
            f"{sane['explains_worse']:.0%} · {sane['less_likely']:.0%}",
        ),
        ("largest Shapley additivity error, nats", _defined(report["shapley_error"], ".1e")),
        ("verdicts", verdicts),
        ("verdicts with the weights of another prompt's plan", shuffled),
    ]
    return "\n".join(
        [
            f"| {report['prompts']} prompts, {report['answer_tokens']:,} answer tokens | |",
            "| --- | ---: |",
            *(f"| {what} | {value} |" for what, value in rows),
        ]
    )


def third_table(report: Mapping) -> str:
    """Markdown: where the groups' effects lie, with intervals."""
    groups = list(report["late_minus_early"])
    lines = ["| of all effects | " + " | ".join(groups) + " |", "| --- |" + " ---: |" * len(groups)]

    def cells(by_group: Mapping, form: str) -> str:
        of = (by_group[g] for g in groups)
        return " | ".join(f"{m:{form}} ({low:{form}} to {high:{form}})" for m, low, high in of)

    for third, by_group in report["effect_by_third"].items():
        lines.append(f"| {third} third of the layers | {cells(by_group, '.1%')} |")
    lines.append(f"| late minus early | {cells(report['late_minus_early'], '+.1%')} |")
    return "\n".join(lines)


def answers_sentences(report: Mapping) -> str:
    """Markdown: how generated answers read, and what two needs in one instruction get."""
    both = report["both_needs"]
    gained = both["gained"]
    return (
        f"{report['answers']} answers to questions in wordings never trained on, greedy, at most "
        f"{report['sampling']['max_new_tokens']} tokens: {report['echoed']} begin with a question "
        f"put to themselves; {report['listing']} hold a list, {report['flattened']} of these in "
        f"running text; {report['patient']} speak of a patient whom nobody mentioned.\n"
        f"{both['pairs']} pairs of needs about one disease: asked for together, the two "
        f"reference answers gain over the base model {_defined(gained['both'], '.0%')} of what "
        f"they gain when each is asked for alone ({_defined(gained['first'], '.0%')} the first "
        f"named, {_defined(gained['second'], '.0%')} the second); both keep 70% in "
        f"{_defined(both['kept'], '.0%')} of {both.get('gaining', both['pairs'])} pairs. Both "
        f"experts take part in {both['in_team']:.0%}."
    )


def _since_start(part: Mapping) -> dict:
    """A response to doses, each prompt's against its own at the first dose."""
    mean = part["mean"]
    return {"mean": [y - mean[0] for y in mean], "quartiles": part["change_quartiles"]}


def _between(pair: Sequence[float], sign: str = "") -> str:
    """An interval; with signs where `sign` is "+"."""
    return f"{pair[0]:{sign}.3f} to {pair[1]:{sign}.3f}"


def _defined(number: float | None, form: str) -> str:
    return "not defined" if number is None else format(number, form)


def _plain(figure: go.Figure, height: int) -> go.Figure:
    """One look for print: white, legible at half size."""
    return figure.update_layout(
        template="plotly_white",
        width=1100,
        height=height,
        font={"size": 14},
        margin={"l": 120, "r": 30, "t": 50, "b": 60},
        legend={"orientation": "h", "y": 1.08},
    )
