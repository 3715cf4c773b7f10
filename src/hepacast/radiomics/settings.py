"""What to extract: PyRadiomics' parameter files, our named settings, and their hash.

A file is read with the meaning that PyRadiomics gives it. What PyRadiomics would drop or ignore in silence (an
unknown key, two settings that contradict each other, a LoG filter without a sigma) is an error here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ValidationError

from hepacast.core.hashing import hash_value
from hepacast.errors import StudyFileError
from hepacast.imaging.io import MaskRules
from hepacast.radiomics import names
from hepacast.radiomics.ibsi.names import ibsi_feature_names
from hepacast.radiomics.ibsi.parameters import INTERPOLATORS, UNDERSTOOD, IbsiParameters
from hepacast.radiomics.parameters import FILTER_SETTINGS, GLOBAL_ONLY, NOT_HASHED, VOXEL_SETTINGS, Parameters

Mode = Literal["pyradiomics", "ibsi"]

NAMED = ("ptlf", "early-recurrence", "ibsi")

_SECTIONS = ("imageType", "featureClass", "setting", "voxelSetting", "mode", "ibsi")


@dataclass(frozen=True)
class Settings:
    """What to extract from one image.

    Use `Settings.load`; the constructor is for parts that are already checked.

    Parameters
    ----------
    parameters
        The general settings.
    image_types
        PyRadiomics' image type -> settings that differ from the general ones.
    feature_classes
        Feature class -> features chosen by name, or None for all that are not deprecated.
    mode
        "pyradiomics" (its definitions) or "ibsi" (the standard's, where the two differ).
    name
        Name of a named setting or stem of the file, for messages only.
    ibsi
        What only the IBSI mode needs.
    """

    parameters: Parameters = field(default_factory=lambda: Parameters.model_validate({}))
    image_types: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"Original": {}})
    feature_classes: Mapping[str, tuple[str, ...] | None] = field(
        default_factory=lambda: {name: None for name in names.FEATURES if name != "shape2D"}
    )
    mode: Mode = "pyradiomics"
    name: str | None = None
    ibsi: IbsiParameters = field(default_factory=lambda: IbsiParameters.model_validate({}))

    @classmethod
    def load(cls, source: Settings | str | Path | Mapping[str, Any]) -> Settings:
        """From a named setting, a parameter file (YAML or JSON), its content as a dictionary, or settings.

        Raises
        ------
        StudyFileError
            The file is missing or unreadable, a key is unknown, a value is illegal, or settings contradict.
        """
        if isinstance(source, Settings):
            return source
        if isinstance(source, Mapping):
            return _parse(source, name=None, where=None)
        text = str(source)
        if text in NAMED:
            file = Path(__file__).parent / "named" / f"{text}.yaml"
            return _parse(_read(file), name=text, where=f"named setting {text}")
        path = Path(source)
        if not path.is_file():
            raise StudyFileError(
                "The feature settings cannot be found.",
                expected="one of " + ", ".join(NAMED) + ", or a PyRadiomics parameter file (YAML or JSON)",
                found=text,
                remedy=_nearest(text, NAMED),
            )
        return _parse(_read(path), name=path.stem, where=str(path))

    def with_parameters(self, **changes: Any) -> Settings:
        """The same settings with other general values, checked again (``binWidth=10``)."""
        given = {key: getattr(self.parameters, key) for key in self.parameters.model_fields_set}
        return replace(self, parameters=_parameters({**given, **changes}, where=None))

    def parameters_for(self, image_type: str) -> Parameters:
        """The general settings with the image type's own on top."""
        own = dict(self.image_types[image_type])
        if not own:
            return self.parameters
        given = {key: getattr(self.parameters, key) for key in self.parameters.model_fields_set}
        # An image type's own kind of binning replaces the general one.
        if "binCount" in own:
            given.pop("binWidth", None)
        if "binWidth" in own:
            given.pop("binCount", None)
        return _parameters({**given, **own}, where=f"imageType {image_type}")

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that changes a value; tables with different hashes must not be joined."""
        return hash_value(self.canonical())

    def canonical(self) -> dict[str, Any]:
        """Everything that changes a value, defaults written out, and nothing else."""
        shared = self._values(self.parameters, keep=())
        types = {
            name: self._values(self.parameters_for(name), keep=FILTER_SETTINGS.get(name, ()))
            for name in self.image_types
        }
        classes = {name: sorted(names.selected_features(name, chosen)) for name, chosen in self.feature_classes.items()}
        if self.mode == "ibsi":
            kept = {key: shared[key] for key in shared if key in UNDERSTOOD}
            return {"mode": self.mode, "setting": kept, "ibsi": self.ibsi.model_dump(mode="json")}
        return {"mode": self.mode, "setting": shared, "imageType": types, "featureClass": classes}

    @staticmethod
    def _values(parameters: Parameters, *, keep: Iterable[str]) -> dict[str, Any]:
        filters = {key for keys in FILTER_SETTINGS.values() for key in keys} - set(keep)
        values = parameters.model_dump(mode="json", exclude={*NOT_HASHED, *VOXEL_SETTINGS, *filters})
        if values["binCount"] is not None:
            values["binWidth"] = None
        if values["resampledPixelSpacing"] is None:
            values["interpolator"] = None
        if values["resampledPixelSpacing"] is None and not values["preCrop"]:
            values["padDistance"] = None
        if "sigma" in values:
            values["sigma"] = [float(sigma) for sigma in values["sigma"]]
        return values

    def to_pyradiomics(self) -> dict[str, Any]:
        """The content of a PyRadiomics parameter file that means the same.

        Raises
        ------
        StudyFileError
            The mode is "ibsi", which PyRadiomics does not know.
        """
        if self.mode != "pyradiomics":
            raise StudyFileError(
                "PyRadiomics cannot calculate IBSI's definitions.",
                expected="mode: pyradiomics",
                found=f"mode: {self.mode}",
                remedy="use the hepacast backend, or leave the mode out",
            )
        values = self.parameters.model_dump(mode="json", exclude_unset=True)
        values = {key: value for key, value in values.items() if value is not None}
        voxel = {key: values.pop(key) for key in VOXEL_SETTINGS if key in values}
        content: dict[str, Any] = {
            "imageType": {name: dict(own) for name, own in self.image_types.items()},
            "featureClass": {name: list(chosen or ()) for name, chosen in self.feature_classes.items()},
            "setting": values,
        }
        return {**content, **({"voxelSetting": voxel} if voxel else {})}

    def content(self) -> dict[str, Any]:
        """The content of a parameter file that `load` reads as the same settings, in either mode."""
        if self.mode == "pyradiomics":
            return self.to_pyradiomics()
        given = self.parameters.model_dump(mode="json", exclude_unset=True)
        setting = {key: value for key, value in given.items() if value is not None}
        return {"mode": self.mode, "setting": setting, "ibsi": self.ibsi.model_dump(mode="json")}

    @property
    def mask_rules(self) -> MaskRules:
        """What is said of mask files, as far as it is said (defaults rule nothing)."""
        given = self.parameters.model_fields_set
        return MaskRules(
            label=self.parameters.label if "label" in given else None,
            channel=self.parameters.label_channel if "label_channel" in given else None,
            correct=self.parameters.correctMask,
        )

    @property
    def bin_width(self) -> float | None:
        """The width of gray levels in the image's own unit; None where levels are counted or intensities rescaled."""
        own = self.parameters
        return None if own.binCount or own.normalize else float(own.binWidth)

    def image_names(self) -> list[str]:
        """The images that features are calculated on, in order: ``original``, ``wavelet-LLH`` ..."""
        result = []
        for image_type in self.image_types:
            result += names.image_names(image_type, self.parameters_for(image_type).model_dump())
        return result

    def feature_names(self) -> list[str]:
        """Every feature of a VOI, in PyRadiomics' order: shape first, then image by image."""
        if self.mode == "ibsi":
            return ibsi_feature_names(self.ibsi)
        result = []
        for name in names.SHAPE_CLASSES:
            if name in self.feature_classes:
                chosen = names.selected_features(name, self.feature_classes[name])
                result += [f"original_{name}_{feature}" for feature in chosen]
        for image in self.image_names():
            for name, features in self.feature_classes.items():
                if name not in names.SHAPE_CLASSES:
                    result += [f"{image}_{name}_{feature}" for feature in names.selected_features(name, features)]
        return result


def _read(path: Path) -> Mapping[str, Any]:
    from hepacast.core.yaml_text import read_yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise StudyFileError("The feature settings cannot be read.", found=str(error), where=str(path)) from error
    content, _ = read_yaml(text, what="file of feature settings", where=str(path))  # JSON is a part of YAML
    if content is None:
        content = {}
    if not isinstance(content, Mapping):
        raise StudyFileError(
            "The feature settings are not a PyRadiomics parameter file.",
            expected="sections imageType, featureClass, setting",
            found=type(content).__name__,
            where=str(path),
        )
    return content


def _parse(content: Mapping[str, Any], *, name: str | None, where: str | None) -> Settings:
    for section in content:
        if section not in _SECTIONS:
            raise _unknown("section", str(section), _SECTIONS, where)
    mode = content.get("mode", "pyradiomics")
    if mode not in ("pyradiomics", "ibsi"):
        raise _unknown("mode", str(mode), ("pyradiomics", "ibsi"), where)
    general = _section(content, "setting", where)
    voxel = _section(content, "voxelSetting", where)
    for key in voxel:
        if key not in VOXEL_SETTINGS:
            raise _unknown("voxelSetting", key, VOXEL_SETTINGS, where)
    parameters = _parameters({**general, **voxel}, where=where)
    if mode == "ibsi":
        return _ibsi_settings(content, parameters, name, where)
    if "ibsi" in content:
        raise StudyFileError("The section ibsi needs mode: ibsi.", where=where)
    settings = Settings(
        parameters=parameters,
        image_types=_image_types(_section(content, "imageType", where) or {"Original": {}}, where),
        feature_classes=_feature_classes(_section(content, "featureClass", where), parameters, where),
        mode=cast(Mode, mode),
        name=name,
    )
    for image_type in settings.image_types:
        _check_image_type(image_type, settings.parameters_for(image_type), where)
    return settings


def _ibsi_settings(content: Mapping[str, Any], parameters: Parameters, name: str | None, where: str | None) -> Settings:
    for section in ("imageType", "featureClass", "voxelSetting"):
        if content.get(section):
            raise StudyFileError(
                f"The section {section} has no meaning in mode: ibsi.",
                expected="sections setting and ibsi",
                found=section,
                where=where,
            )
    for key in parameters.model_fields_set:
        if key not in UNDERSTOOD:
            raise StudyFileError(
                f"The setting {key} has no meaning in mode: ibsi.", expected=", ".join(UNDERSTOOD), where=where
            )
    if parameters.interpolator not in INTERPOLATORS:
        raise _unknown("interpolator of mode: ibsi", str(parameters.interpolator), INTERPOLATORS, where)
    own = _section(content, "ibsi", where)
    legal = tuple(IbsiParameters.model_fields)
    for key in own:
        if key not in legal:
            raise _unknown("ibsi setting", key, legal, where)
    try:
        ibsi = IbsiParameters.model_validate(own)
    except ValidationError as error:
        first = error.errors()[0]
        raise StudyFileError(
            f"The IBSI setting {first['loc'][0] if first['loc'] else ''} has an illegal value.",
            found=repr(first["input"]),
            where=where,
            remedy=first["msg"],
        ) from error
    return Settings(parameters, {"Original": {}}, {}, "ibsi", name, ibsi)


def _section(content: Mapping[str, Any], name: str, where: str | None) -> dict[str, Any]:
    value = content.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise StudyFileError(
            f"The section {name} is not a list of keys and values.", found=type(value).__name__, where=where
        )
    return {str(key): item for key, item in value.items()}


def _parameters(values: Mapping[str, Any], *, where: str | None) -> Parameters:
    legal = tuple(Parameters.model_fields)
    for key in values:
        if key not in legal:
            raise _unknown("setting", key, legal, where)
    try:
        return Parameters.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        known = Parameters.model_fields.get(key)
        raise StudyFileError(
            f"The feature setting {key} has an illegal value."
            if key
            else "The feature settings contradict each other.",
            expected=(known.description if known else None),
            found=f"{first['input']!r}" if key else None,
            where=where,
            remedy=first["msg"].removeprefix("Value error, "),
        ) from error


def _image_types(content: Mapping[str, Any], where: str | None) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for name, own in content.items():
        if name not in names.IMAGE_TYPES:
            raise _unknown("imageType", name, names.IMAGE_TYPES, where)
        values = _section({name: own}, name, where)
        for key in values:
            if key in GLOBAL_ONLY or key in VOXEL_SETTINGS:
                raise StudyFileError(
                    f"{key} acts before the filters and cannot differ between image types.",
                    found=f"imageType {name}: {key}",
                    where=where,
                    remedy=f"move {key} to the section setting",
                )
            for owner, keys in FILTER_SETTINGS.items():
                if key in keys and owner != name:
                    raise StudyFileError(
                        f"{key} has no effect on the image type {name}.",
                        expected=f"{key} belongs to {owner}",
                        found=f"imageType {name}: {key}",
                        where=where,
                    )
        result[name] = values
    return result


def _check_image_type(name: str, parameters: Parameters, where: str | None) -> None:
    if name == "LoG" and not parameters.sigma:
        raise StudyFileError(
            "The LoG filter has no sigma.",
            expected="imageType LoG: {sigma: [1.0, 3.0, 5.0]}",
            found="no sigma; PyRadiomics would leave the filter out without an error",
            where=where,
        )


def _feature_classes(
    content: Mapping[str, Any], parameters: Parameters, where: str | None
) -> dict[str, tuple[str, ...] | None]:
    if not content:
        everything: dict[str, tuple[str, ...] | None] = dict.fromkeys(names.FEATURES)
        if not parameters.force2D:
            del everything["shape2D"]
        return everything
    result: dict[str, tuple[str, ...] | None] = {}
    for name, chosen in content.items():
        if name not in names.FEATURES:
            raise _unknown("featureClass", name, tuple(names.FEATURES), where)
        if chosen is not None and not isinstance(chosen, list | tuple):
            raise StudyFileError(f"The features of {name} are not a list.", found=repr(chosen), where=where)
        for feature in chosen or ():
            _check_feature(name, str(feature), where)
        result[name] = tuple(dict.fromkeys(str(feature) for feature in chosen or ())) or None
    if "shape2D" in result and not parameters.force2D:
        raise StudyFileError(
            "shape2D needs force2D: true.",
            expected="setting: {force2D: true, force2Ddimension: 0}",
            found="featureClass shape2D without force2D; PyRadiomics would leave the class out",
            where=where,
        )
    return result


def _check_feature(name: str, feature: str, where: str | None) -> None:
    legal = names.FEATURES[name] + names.OPTIONAL.get(name, ())
    if feature in legal:
        return
    retired = names.REMOVED.get(name, {}).get(feature)
    if retired:
        raise StudyFileError(
            f"The feature {name} {feature} is no longer calculated.",
            found=feature,
            where=where,
            remedy=f"use {retired}",
        )
    raise _unknown(f"feature of {name}", feature, legal, where)


def _unknown(what: str, found: str, legal: tuple[str, ...], where: str | None) -> StudyFileError:
    return StudyFileError(
        f"Unknown {what}: {found!r}.",
        expected="one of " + ", ".join(legal),
        found=found,
        where=where,
        remedy=_nearest(found, legal),
    )


def _nearest(found: str, legal: Iterable[str]) -> str | None:
    lowered = {name.lower(): name for name in legal}
    close = difflib.get_close_matches(found.lower(), list(lowered), n=1, cutoff=0.5)
    return f"did you mean {lowered[close[0]]!r}?" if close else None
