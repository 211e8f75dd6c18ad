"""Show where a model looks: a picture for each image, and one HTML page of all."""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import print_json, say
from counterpoise.cli.running import counting, report_skipped
from counterpoise.config import ExplainConfig
from counterpoise.exceptions import InputError

PANEL = "Use a model"
ORDER = 70


@Command
def command(config: ExplainConfig, call: Call) -> None:
    other = config.compare_with
    if config.same_from is not None and other is None:
        raise InputError(
            "`same_from` compares two models; name the second with `compare_with`, or leave it out"
        )

    from counterpoise.explain import SAME_FROM
    from counterpoise.files import replacing_folder
    from counterpoise.inference import EXPLANATION_CONTENTS, build_explanation_page, explain_images
    from counterpoise.runs import RunFolder

    folders = [RunFolder.open(path) for path in (config.run, other) if path is not None]
    target = config.out or config.run / ("explain" if other is None else "explain-against")
    with replacing_folder(target, EXPLANATION_CONTENTS, kind="explanation") as folder:
        with counting("explaining images", "img") as update:
            explanation = explain_images(
                folders,
                list(config.images),
                folder,
                method=config.method,
                target=config.target_class,
                layer=config.layer,
                with_scores=config.map_scores,
                with_feature_maps=config.feature_maps,
                same_from=SAME_FROM if config.same_from is None else config.same_from,
                device=config.device,
                batch_size=config.batch_size,
                strict=config.strict,
                progress=update,
            )
        build_explanation_page(explanation, folder / "explain.html")
    report_skipped(explanation.skipped)
    page = target / "explain.html"
    if call.as_json:
        print_json({"out": str(target), "page": str(page), **explanation.model_dump(mode="json")})
        return
    known = [image for image in explanation.images if image.true is not None]
    say(f"images: {len(explanation.images):,}, explained by {explanation.method}")
    for index, model in enumerate(explanation.models):
        right = sum(image.views[index].predicted == image.true for image in known)
        if known:
            say(f"right: {right:,} of the {len(known):,} whose folder names their class, by {model.run}")
    if (attention := explanation.attention) is not None:
        rule = f"rank correlation of the maps {attention.same_from:g} or more"
        say(f"attention: same on {attention.same:,} ({rule}), different on {attention.different:,}")
    say(f"page: {page}")
