"""Key points of objects by heat maps: codecs between points and maps, losses, and the measures of the papers."""

from saccade.tasks.pose.codecs import Codec, Decoded, codec, list_codecs

__all__ = ["Codec", "Decoded", "codec", "list_codecs"]
